"""Banyan's events: two durable consumers of JetStream, one for each publisher."""

import asyncio
import json
import logging

import nats
import nats.errors
import nats.js.errors
from nats.js.api import AckPolicy, ConsumerConfig

from .settings import Settings
from .store import Store

log = logging.getLogger(__name__)

NAME = "analytics"
TOPICS = {"identity": "user", "profile": "profile"}
PAUSE_SECONDS = 2


async def connect(settings: Settings) -> nats.NATS:
    """Goes on trying: the service serves what it has meanwhile."""

    async def tell(error: Exception) -> None:
        log.warning("NATS: %s", error)

    while True:
        try:
            return await nats.connect(
                settings.nats,
                user=settings.nats_user,
                password=settings.nats_password,
                # Answers come here, and the user may listen nowhere else.
                inbox_prefix=f"_INBOX_{settings.nats_user}".encode(),
                max_reconnect_attempts=-1,
                error_cb=tell,
            )
        except (OSError, nats.errors.Error, asyncio.TimeoutError) as error:
            log.warning("NATS cannot be reached: %r", error)
            await asyncio.sleep(PAUSE_SECONDS)


async def provision(settings: Settings) -> None:
    """Makes the consumers, as an operator: the service itself may only take what they bring."""
    connection = await connect(settings)
    for publisher, topic in TOPICS.items():
        config = ConsumerConfig(
            name=NAME,
            durable_name=NAME,
            filter_subject=f"{settings.prefix}.evt.{publisher}.{topic}.>",
            ack_policy=AckPolicy.EXPLICIT,
            # The next one is not sent before this one is counted: the order stays.
            max_ack_pending=1,
        )
        stream = f"{settings.prefix}_{publisher}"
        while True:
            try:
                await connection.jetstream().add_consumer(stream, config)
                break
            except nats.js.errors.NotFoundError:
                log.warning("%s is not there yet: does %s run?", stream, publisher)
                await asyncio.sleep(PAUSE_SECONDS)
    await connection.close()


async def follow(settings: Settings, store: Store) -> None:
    """Counts what comes, until it is cancelled."""
    connection = await connect(settings)
    log.info("connected to NATS")
    try:
        await asyncio.gather(
            *(_take(connection, settings.prefix, publisher, store) for publisher in TOPICS)
        )
    finally:
        await connection.close()


async def _take(connection: nats.NATS, prefix: str, publisher: str, store: Store) -> None:
    stream = f"{prefix}_{publisher}"
    consumer = await connection.jetstream().pull_subscribe_bind(NAME, stream=stream)
    while True:
        try:
            [message] = await consumer.fetch(1, timeout=30)
        except nats.errors.TimeoutError:
            continue
        except (nats.errors.Error, nats.js.errors.Error) as error:
            # Not there, or the server is away: what is missed meanwhile waits in the stream.
            log.warning("the consumer of %s brings nothing: %r", stream, error)
            await asyncio.sleep(PAUSE_SECONDS)
            continue
        event = json.loads(message.data)
        if store.take(event):
            fields = {"event": event["id"], "type": event["type"]}
            log.info("counted an event", extra={"fields": fields})
        # After the commit: killed in between, it comes again and is known.
        await message.ack()
