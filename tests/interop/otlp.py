"""Reads requests of OTLP in JSON, one a line, with OpenTelemetry's own messages; prints what they say of each record."""

import json
import sys

from google.protobuf.json_format import Parse
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

for line in sys.stdin:
    # Unknown members are errors.
    request = Parse(line, ExportLogsServiceRequest())
    for resource in request.resource_logs:
        service = {a.key: a.value.string_value for a in resource.resource.attributes}
        for scope in resource.scope_logs:
            for record in scope.log_records:
                attributes = {a.key: a.value for a in record.attributes}
                print(json.dumps({
                    "service": service["service.name"],
                    "scope": scope.scope.name,
                    "seq": attributes["jwsd.seq"].int_value,
                    "event": record.event_name,
                    "time": record.time_unix_nano,
                    "severity": record.severity_number,
                    "body": record.body.string_value,
                }))
