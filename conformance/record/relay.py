#!/usr/bin/env python3
"""Records what goes over the wire at aiomoqt's relay: each stream and datagram, in a file of its own.

    relay.py OUT DRAFT [arguments of moq-interop-relay]

What comes in was written by the peer ("moqt"), what goes out by aiomoqt. Needs aiomoqt 0.13.3.
"""

import asyncio
import hashlib
import pathlib
import sys

from aiomoqt.protocol import MOQTSessionQuic
from aiomoqt.tools import moq_interop_relay
from aiopquic.quic.connection import QuicConnection
from aiopquic.quic.events import DatagramFrameReceived, StreamDataReceived

# Short enough to be kept, and all that matters of a stream of objects.
MAX_LEN = 3_000

streams = {}
datagrams = []
# Kept, so that no other gets its id.
connections = set()


def stream(connection, writer, stream_id):
    connections.add(connection)
    return streams.setdefault((id(connection), writer, stream_id), bytearray())


def record_received():
    handle = MOQTSessionQuic._quic_event

    def recorded(self, event):
        if isinstance(event, StreamDataReceived):
            stream(self, "moqt", event.stream_id).extend(event.data or b"")
        elif isinstance(event, DatagramFrameReceived):
            datagrams.append(("moqt", bytes(event.data)))
        return handle(self, event)

    MOQTSessionQuic._quic_event = recorded


def record_sent():
    send_stream = QuicConnection.send_stream_data
    send_datagram = QuicConnection.send_datagram_frame

    def recorded_stream(self, stream_id, data, end_stream=False):
        result = send_stream(self, stream_id, data, end_stream)
        stream(self, "aiomoqt", stream_id).extend(data or b"")
        return result

    def recorded_datagram(self, data):
        taken = send_datagram(self, data)
        if taken:
            datagrams.append(("aiomoqt", bytes(data)))
        return taken

    QuicConnection.send_stream_data = recorded_stream
    QuicConnection.send_datagram_frame = recorded_datagram


def kind(draft, stream_id, data):
    is_bidirectional = stream_id & 2 == 0
    if is_bidirectional or (draft >= 18 and data[:2] == b"\xaf\x00"):
        return "control"
    return "fetch" if data[:1] == b"\x05" else "subgroup"


def store(out, draft):
    found = [(writer, kind(draft, stream_id, data), bytes(data))
             for (_, writer, stream_id), data in streams.items() if data]
    found += [(writer, "datagram", data) for writer, data in datagrams]
    out.mkdir(parents=True, exist_ok=True)
    for writer, what, data in found:
        if len(data) <= MAX_LEN:
            name = f"{what}-{writer}-{hashlib.sha256(data).hexdigest()[:8]}"
            (out / name).write_bytes(data)


def main():
    out, draft = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    sys.argv[1:] = sys.argv[3:] + ["--draft", str(draft)]
    record_received()
    record_sent()
    try:
        asyncio.run(moq_interop_relay.main())
    except (KeyboardInterrupt, asyncio.CancelledError):
        pass
    finally:
        store(out, draft)


if __name__ == "__main__":
    main()
