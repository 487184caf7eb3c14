"""Sends one profile in the layout of the installed protocol package, by gRPC and by HTTP.

usage: python otlp.py SERVER_URL LAYOUT [FOLDER]

The services are called otlp-LAYOUT-grpc, otlp-LAYOUT-protobuf, …; FOLDER holds an older protocol package.
"""

import base64
import gzip
import json
import sys
import time
import urllib.request

if len(sys.argv) > 3:
    sys.path.insert(0, sys.argv[3])

import grpc
from google.protobuf import json_format
from opentelemetry.proto.collector.profiles.v1development import profiles_service_pb2 as service_pb
from opentelemetry.proto.collector.profiles.v1development import profiles_service_pb2_grpc as service_grpc
from opentelemetry.proto.common.v1 import common_pb2 as common
from opentelemetry.proto.profiles.v1development import profiles_pb2 as pb

# Before 1.8 stacks were ranges of a list in the profile, and attributes carried their own names.
HAS_STACKS = "stack_table" in pb.ProfilesDictionary.DESCRIPTOR.fields_by_name
TRACE_ID, SPAN_ID = bytes(15) + b"\xab", bytes(7) + b"\xcd"


def export(service):
    """Two stacks of 100 samples a second: main and work 5 times; main and idle once, by w1, in a span."""
    strings = ["", "samples", "count", "cpu", "nanoseconds", "main", "work", "idle", "thread.name"]
    tables = pb.ProfilesDictionary(
        string_table=strings,
        mapping_table=[pb.Mapping()],
        function_table=[pb.Function()] + [pb.Function(name_strindex=strings.index(n)) for n in ("main", "work", "idle")],
        link_table=[pb.Link(), pb.Link(trace_id=TRACE_ID, span_id=SPAN_ID)],
    )
    lines = "lines" if "lines" in pb.Location.DESCRIPTOR.fields_by_name else "line"
    tables.location_table.add()
    for function in (1, 2, 3):
        getattr(tables.location_table.add(), lines).add(function_index=function, line=7)
    profile = pb.Profile(period=10_000_000, period_type=pb.ValueType(type_strindex=3, unit_strindex=4))
    now = time.time_ns()
    thread = common.AnyValue(string_value="w1")
    if HAS_STACKS:
        tables.stack_table.extend([pb.Stack(), pb.Stack(location_indices=[2, 1]), pb.Stack(location_indices=[3, 1])])
        tables.attribute_table.extend([pb.KeyValueAndUnit(), pb.KeyValueAndUnit(key_strindex=8, value=thread)])
        profile.sample_type.CopyFrom(pb.ValueType(type_strindex=1, unit_strindex=2))
        profile.time_unix_nano, profile.duration_nano = now, 1_000_000_000
        profile.samples.add(stack_index=1, values=[5])
        profile.samples.add(stack_index=2, values=[1], attribute_indices=[1], link_index=1)
    else:
        tables.attribute_table.extend([common.KeyValue(), common.KeyValue(key="thread.name", value=thread)])
        profile.sample_type.add(type_strindex=1, unit_strindex=2)
        profile.time_nanos, profile.duration_nanos = now, 1_000_000_000
        profile.location_indices.extend([2, 1, 3, 1])
        profile.sample.add(locations_start_index=0, locations_length=2, value=[5])
        profile.sample.add(
            locations_start_index=2, locations_length=2, value=[1], attribute_indices=[1], link_index=1
        )
    request = service_pb.ExportProfilesServiceRequest(dictionary=tables)
    resource = request.resource_profiles.add()
    resource.resource.attributes.add(key="service.name", value=common.AnyValue(string_value=service))
    resource.resource.attributes.add(key="region", value=common.AnyValue(string_value="test"))
    resource.scope_profiles.add(profiles=[profile])
    return request


def otlp_json(request):
    """OTLP's own JSON: ids of traces and spans are hexadecimal, enums are numbers."""
    tree = json_format.MessageToDict(request, use_integers_for_enums=True)
    for link in tree["dictionary"]["linkTable"]:
        for name in ("traceId", "spanId"):
            if name in link:
                link[name] = base64.b64decode(link[name]).hex()
    return json.dumps(tree).encode()


def check(service, answer):
    if answer.partial_success.rejected_profiles or answer.partial_success.error_message:
        sys.exit(f"{service}: {answer.partial_success}")


def main():
    server, layout = sys.argv[1:3]
    with grpc.insecure_channel(server.removeprefix("http://")) as channel:
        stub = service_grpc.ProfilesServiceStub(channel)
        for name, compression in (("grpc", None), ("grpc-gzip", grpc.Compression.Gzip)):
            service = f"otlp-{layout}-{name}"
            check(service, stub.Export(export(service), compression=compression))
    for name, content_type, compressed in (
        ("protobuf", "application/x-protobuf", False),
        ("protobuf-gzip", "application/x-protobuf", True),
        ("json", "application/json", False),
        ("json-gzip", "application/json; charset=utf-8", True),
    ):
        service = f"otlp-{layout}-{name}"
        request = export(service)
        body = otlp_json(request) if name.startswith("json") else request.SerializeToString()
        headers = {"Content-Type": content_type}
        if compressed:
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        post = urllib.request.Request(f"{server}/v1development/profiles", data=body, headers=headers)
        with urllib.request.urlopen(post) as got:
            answer = got.read()
        if name.startswith("json"):
            check(service, json_format.Parse(answer, service_pb.ExportProfilesServiceResponse()))
        else:
            check(service, service_pb.ExportProfilesServiceResponse.FromString(answer))


if __name__ == "__main__":
    main()
