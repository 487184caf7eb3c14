"""Asks for the health of a server's services, once and for as long as it serves, and ends it.

usage: python health.py SERVER_URL PID

Prints what Check and Watch say of services, a line each. The server, whose process is PID, is asked to stop once
something has come on both streams.
"""

import os
import signal
import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

HEALTH = "grpc.health.v1.Health"
SERVED, UNKNOWN = "parca.query.v1alpha1.QueryService", "no.Service"


def main():
    server, pid = sys.argv[1:]
    with grpc.insecure_channel(server.removeprefix("http://")) as channel:
        described = DescriptorPool(ProtoReflectionDescriptorDatabase(channel)).FindServiceByName(HEALTH)
        method = described.FindMethodByName("Check")
        request, answer = (GetMessageClass(kind) for kind in (method.input_type, method.output_type))
        form = {"request_serializer": request.SerializeToString, "response_deserializer": answer.FromString}
        check = channel.unary_unary(f"/{HEALTH}/Check", **form)
        watch = channel.unary_stream(f"/{HEALTH}/Watch", **form)

        def say(name, service, got):
            status = got.DESCRIPTOR.fields_by_name["status"].enum_type.values_by_number[got.status].name
            print(name, service, status, flush=True)

        for service in ("", SERVED):
            say("Check", service, check(request(service=service), timeout=30))
        try:
            check(request(service=UNKNOWN), timeout=30)
        except grpc.RpcError as refusal:
            print("Check", UNKNOWN, refusal.code().name)
        streams = {service: watch(request(service=service), timeout=30) for service in (SERVED, UNKNOWN)}
        for service, stream in streams.items():
            say("Watch", service, next(stream))
        os.kill(int(pid), signal.SIGTERM)
        for service, stream in streams.items():
            for got in stream:
                say("Watch", service, got)
            print("Watch", service, "ended", stream.code().name)


if __name__ == "__main__":
    main()
