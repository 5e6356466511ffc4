"""A real SMTP server for the tests of the mailers (Debian: python3-aiosmtpd).

Prints its port, then one line of JSON per mail it took, as Python's own mail parser reads it.
The local part of a recipient chooses what happens to the mail.

    smtp_server.py                               no TLS
    smtp_server.py starttls CERT KEY USER PASS   sign-in wanted, after STARTTLS
    smtp_server.py implicit CERT KEY USER PASS   sign-in wanted, TLS from the first byte
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        match address.split("@")[0].lower():
            case "unknown":
                return "550 5.1.1 <" + address + ">: no such mailbox"
            case "spam":
                return "550 5.7.1 this looks like spam"
            case "busy":
                return "451 4.2.1 try again later"
            case "slow":
                await asyncio.sleep(30)
            case "gone":
                server.transport.abort()
                await asyncio.sleep(1)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.original_content, policy=email.policy.default)
        raw = envelope.original_content
        print(json.dumps({
            "from": envelope.mail_from,
            "recipients": envelope.rcpt_tos,
            "headers": {name.lower(): str(value) for name, value in mail.items()},
            "text": mail.get_body(("plain",)).get_content(),
            "html": mail.get_body(("html",)).get_content(),
            "parts": [part.get_content_type() for part in mail.walk()],
            "longest_line": max(len(line) for line in raw.split(b"\r\n")),
            "bare_newlines": raw.replace(b"\r\n", b"").count(b"\n")
            + raw.replace(b"\r\n", b"").count(b"\r"),
        }), flush=True)
        return "250 OK"


def options():
    if len(sys.argv) == 1:
        return None, {}
    _, mode, certificate, key, user, password = sys.argv
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)

    def authenticate(server, session, envelope, mechanism, credentials):
        known = (
            isinstance(credentials, LoginPassword)
            and credentials.login == user.encode()
            and credentials.password == password.encode()
        )
        return AuthResult(success=known, handled=False)

    signing_in = {"auth_required": True, "authenticator": authenticate}
    if mode == "implicit":
        return tls, signing_in | {"auth_require_tls": False}
    return None, signing_in | {"tls_context": tls, "require_starttls": True}


async def main():
    loop = asyncio.get_running_loop()
    tls, given = options()
    server = await loop.create_server(
        lambda: SMTP(Handler(), enable_SMTPUTF8=True, hostname="localhost", **given),
        "127.0.0.1",
        0,
        ssl=tls,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    # The test holds the other end: when it is gone, so is this.
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
