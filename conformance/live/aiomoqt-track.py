"""A file as a track, with aiomoqt in place of moqt at one end.

    aiomoqt-track.py publish|subscribe URL DRAFT NAMESPACE TRACK FILE

`publish` cuts FILE into objects of 4 KiB, 30 a group, and ends the track; `subscribe` writes the payloads of
all objects to FILE when the track has ended, in the order of their locations.
"""

import asyncio
import sys

from aiomoqt.client import MOQTClient
from aiomoqt.track import PublishedTrack, SubscribedTrack
from aiomoqt.utils.url import parse_relay_url

OBJECT_SIZE = 4096
GROUP_SIZE = 30
# Time between two objects, in seconds: its queues drop what comes faster than they can take.
PACE = 0.001


class File(PublishedTrack):
    """The objects of a file."""

    content = b""

    async def produce(self, out):
        for number, begin in enumerate(range(0, len(self.content), OBJECT_SIZE)):
            group, member = divmod(number, GROUP_SIZE)
            payload = self.content[begin : begin + OBJECT_SIZE]
            await out.write(group, member, payload, group_start=member == 0)
            await asyncio.sleep(PACE)


async def publish(session, namespace, name, file):
    track = File(session, namespace=namespace, trackname=name)
    with open(file, "rb") as content:
        track.content = content.read()
    await track.publish(announce_namespace=True, publish_track=False)
    print("announced", flush=True)
    await track.wait_closed()


async def subscribe(session, namespace, name, file):
    objects = {}

    def take(message, _size, _time, group_id=None, _subgroup_id=None, **_):
        objects[(group_id, message.object_id)] = bytes(message.payload)

    track = SubscribedTrack(session, namespace=namespace, trackname=name, on_object=take)
    await track.subscribe()
    await track.wait_closed()
    # The end of a track and its last objects travel on streams of their own.
    before = -1
    while before != len(objects):
        before = len(objects)
        await asyncio.sleep(0.5)
    with open(file, "wb") as copy:
        for location in sorted(objects):
            copy.write(objects[location])


async def main(role, url, draft, *track):
    relay = parse_relay_url(url)
    client = MOQTClient(
        relay.host,
        relay.port,
        path=relay.path or "",
        use_quic=relay.use_quic,
        verify_tls=False,
        supported_drafts=int(draft),
    )
    async with client.connect() as session:
        await session.client_session_init()
        await {"publish": publish, "subscribe": subscribe}[role](session, *track)


asyncio.run(main(*sys.argv[1:]))
