"""Asks a server for its services and their messages by gRPC reflection, and calls one that it knew nothing of.

usage: python reflection.py SERVER_URL

Prints the services, a line each, and what querier.v1.QuerierService/ProfileTypes answers, as JSON.
"""

import json
import sys

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def main():
    with grpc.insecure_channel(sys.argv[1].removeprefix("http://")) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        pool = DescriptorPool(database)
        for service in database.get_services():
            described = pool.FindServiceByName(service)
            print(service, *sorted(method.name for method in described.methods))
        method = pool.FindServiceByName("querier.v1.QuerierService").FindMethodByName("ProfileTypes")
        request, answer = (GetMessageClass(kind) for kind in (method.input_type, method.output_type))
        call = channel.unary_unary(
            "/querier.v1.QuerierService/ProfileTypes",
            request_serializer=request.SerializeToString,
            response_deserializer=answer.FromString,
        )
        print(json.dumps(json_format.MessageToDict(call(request(start=1, end=4_000_000_000_000)))))


if __name__ == "__main__":
    main()
