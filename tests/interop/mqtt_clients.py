"""Clients of paho-mqtt over WebSockets. Each session is a publisher and a subscriber with a session that the broker keeps.
What is published, with QoS 1 and 2 in turn, is asked, its PUBACK or PUBCOMP is the answer; what the subscriber must get,
with QoS 1, is wanted."""

import asyncio
import collections
import itertools
import re
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from journal import arguments, run_sessions

VALUES = arguments(version="3.1.1", brokers="")
PROXY = re.fullmatch(r"ws://([^/]+)/.*", VALUES.url)[1]
FIVE = VALUES.version == "5"
PATIENCE = VALUES.patience_ms / 1000
PACKET = re.compile(r"(Received PUBACK|Received PUBCOMP|Sending PUBREL) \(Mid: (\d+)\)")
connecting, all_connected = asyncio.Lock(), asyncio.Barrier(VALUES.sessions)


async def in_time(awaited, what, session):
    """Without the profile there are things that never come."""
    try:
        await asyncio.wait_for(awaited, PATIENCE)
    except (TimeoutError, asyncio.BrokenBarrierError):
        session.fault(f"{what}: not in time")


class Client:
    """A client of the library, with all that it says of its connection."""

    def __init__(self, session, role):
        self.session = session
        self.lock = threading.RLock()
        self.waiting = {}
        self.released, self.completed = collections.Counter(), collections.Counter()
        kind = MQTTProtocolVersion.MQTTv5 if FIVE else MQTTProtocolVersion.MQTTv311
        lasting = {} if FIVE else {"clean_session": False}
        name = f"{role}-{session.number}"
        self.library = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=name, protocol=kind, transport="websockets", **lasting
        )
        self.library.on_connect = self.on_connect
        self.library.on_disconnect = self.on_disconnect
        self.library.on_log = self.on_log
        self.connected = asyncio.Event()
        self.subscribed = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        self.connections = 0
        self.leaving = False

    async def start(self, address=PROXY):
        self.library.connect_timeout = 60
        # One at a time: whoever comes first to a lone broker that another's handshake was the end of is refused.
        async with connecting:
            # The handshake takes its time when the backend is killed in it, and the library waits for it.
            await asyncio.to_thread(self.connect, address)
            self.library.loop_start()
            await in_time(self.connected.wait(), "connected", self.session)

    def connect(self, address):
        host, port = address.split(":")
        if not FIVE:
            return self.library.connect(host, int(port), keepalive=2)
        kept = Properties(PacketTypes.CONNECT)
        kept.SessionExpiryInterval = 3600
        self.library.connect(host, int(port), keepalive=2, clean_start=False, properties=kept)

    async def subscribe(self, topic):
        self.library.on_subscribe = lambda *_: self.loop.call_soon_threadsafe(self.subscribed.set)
        self.library.subscribe(topic, qos=1)
        await in_time(self.subscribed.wait(), "subscribed", self.session)

    def stop(self):
        self.leaving = True
        self.library.disconnect()
        self.library.loop_stop()

    def on_connect(self, _client, _data, _flags, reason, _properties):
        self.connections += 1
        if reason.is_failure:
            self.session.fault(f"refused: {reason}")
        elif self.connections > 1:
            self.session.fault("connected again")
        self.loop.call_soon_threadsafe(self.connected.set)

    def on_disconnect(self, _client, _data, _flags, reason, _properties):
        if not self.leaving:
            self.session.fault(f"disconnected: {reason}")

    def on_log(self, _client, _data, level, text):
        """The library says every packet here: also an acknowledgement that nobody waits for any more."""
        packet = PACKET.match(text)
        if packet:
            self.packet(packet[1], int(packet[2]))
        elif level == mqtt.MQTT_LOG_ERR and not self.leaving:
            self.session.fault(f"error: {text}")

    def packet(self, name, mid):
        with self.lock:
            what = self.waiting.get(mid)
            if name == "Sending PUBREL":
                self.released[mid] += 1
                return
            if name == "Received PUBCOMP":
                self.completed[mid] += 1
                # Each PUBREL has a PUBCOMP of its own, and each broker asks for a PUBREL.
                if 1 < self.completed[mid] <= self.released[mid]:
                    return
        self.session.answer(what) if what else self.session.fault(f"for nothing: {name} of {mid}")

    def publish(self, topic, what, quality):
        # The acknowledgement may come before the packet id is known here.
        with self.lock:
            self.waiting[self.library.publish(topic, what, qos=quality).mid] = what


async def make_known(session, topic):
    """Bridged brokers keep for a session only what is published after it was first there; so it was, at each of them."""
    for address in filter(None, VALUES.brokers.split(",")):
        subscriber = Client(session, "subscriber")
        await subscriber.start(address)
        await subscriber.subscribe(topic)
        subscriber.stop()


async def run(session):
    subscriber, publisher = Client(session, "subscriber"), Client(session, "publisher")
    topic = f"topic/{session.number}"
    subscriber.library.on_message = lambda _client, _data, message: session.get(f"got-{message.payload.decode()}")
    await make_known(session, topic)
    await subscriber.start()
    await publisher.start()
    # A broker killed at a SUBSCRIBE is away for nobody's first handshake.
    await in_time(all_connected.wait(), "all connected", session)
    await subscriber.subscribe(topic)

    qualities = itertools.cycle((1, 2))

    async def publish():
        quality = next(qualities)
        what = session.ask(f"qos{quality}")
        session.want(f"got-{what}")
        publisher.publish(topic, what, quality)

    await publish()
    await publish()
    await session.complete(PATIENCE)
    await session.work(publish, VALUES.quiet)
    await publish()
    await publish()
    await session.complete(PATIENCE)
    await asyncio.sleep(0.1)  # what comes a second time comes soon
    publisher.stop()
    subscriber.stop()


asyncio.run(run_sessions(VALUES, run))
