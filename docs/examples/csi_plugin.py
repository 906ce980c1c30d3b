#!/usr/bin/env python3
"""A stand-in for a CSI plugin to try volumes with (as root; pip install grpcio): each volume is a directory in /tmp/tepui-csi/volumes, which is
shown wherever the agent wants it. Its socket is /tmp/tepui-csi/csi.sock."""

import os
import subprocess
from concurrent import futures

import grpc

HOME = "/tmp/tepui-csi"


def fields(message):
    """The texts and messages of a protobuf message, by their numbers."""
    found, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            found[number] = varint()
        else:
            length = varint()
            found[number] = message[at : at + length]
            at += length
    return found


def is_mounted(target):
    with open("/proc/self/mountinfo") as mounts:
        return any(line.split()[4] == target for line in mounts)


def publish(asked):
    volume = os.path.join(HOME, "volumes", asked[1].decode().replace("/", "_"))
    target = asked[4].decode()
    if not is_mounted(target):
        os.makedirs(volume, exist_ok=True)
        os.makedirs(target, exist_ok=True)
        subprocess.run(["mount", "--bind", volume, target], check=True)
        if asked.get(6):
            subprocess.run(["mount", "-o", "remount,bind,ro", target], check=True)
    return b""


def unpublish(asked):
    target = asked[2].decode()
    if is_mounted(target):
        subprocess.run(["umount", target], check=True)
    if os.path.isdir(target):
        os.rmdir(target)
    return b""


def handler(action):
    def call(message, context):
        try:
            return action(fields(message))
        except (OSError, subprocess.CalledProcessError) as error:
            context.abort(grpc.StatusCode.INTERNAL, str(error))

    return grpc.unary_unary_rpc_method_handler(call)


# An empty answer says: ready, and without any of what only some plugins do.
NOTHING = handler(lambda asked: b"")
SERVICES = {
    "csi.v1.Identity": {"Probe": NOTHING},
    "csi.v1.Node": {
        "NodeGetCapabilities": NOTHING,
        "NodePublishVolume": handler(publish),
        "NodeUnpublishVolume": handler(unpublish),
    },
}

os.makedirs(HOME, exist_ok=True)
server = grpc.server(futures.ThreadPoolExecutor(4))
for name, methods in SERVICES.items():
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, methods)])
server.add_insecure_port(f"unix://{HOME}/csi.sock")
server.start()
print(f"serving on {HOME}/csi.sock", flush=True)
server.wait_for_termination()
