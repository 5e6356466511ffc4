"""`python -m analytics` serves; `python -m analytics provision` makes the consumers, once."""

import asyncio
import logging
import signal
import sys
import threading

from . import events, settings, web
from .logs import Shipper
from .store import Store
from .token import Token


async def run(config: settings.Settings) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)

    store = Store(config.database)
    server = web.Server(config)
    threading.Thread(target=server.serve_forever, name="web", daemon=True).start()
    logging.info("listening on %s:%s", *config.listen)

    following = asyncio.create_task(events.follow(config, store))
    ended = asyncio.create_task(stopped.wait())
    done, _ = await asyncio.wait({following, ended}, return_when=asyncio.FIRST_COMPLETED)
    logging.info("stopping")
    await asyncio.to_thread(server.stop)
    # An event in hand is counted or not; if not, it comes again.
    following.cancel()
    if following in done:
        following.result()


def main() -> None:
    config = settings.read()
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    if sys.argv[1:] == ["provision"]:
        return asyncio.run(events.provision(config))
    if sys.argv[1:]:
        raise SystemExit(__doc__)
    shipper = Shipper(config.banyan, Token(config.banyan, config.service, config.secret))
    logging.getLogger().addHandler(shipper)
    try:
        asyncio.run(run(config))
    finally:
        shipper.close()


if __name__ == "__main__":
    main()
