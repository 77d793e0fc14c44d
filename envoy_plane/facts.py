"""What Envoy's log is told of a call that was judged."""

from google.protobuf.struct_pb2 import Struct

from mesh.calls.call_record import CallRecord

# Where the log finds them.
NAMESPACE, FACTS = "sekisho", "facts"


def facts_of(record: CallRecord) -> Struct:
    """Return what the checkpoint knows of a call, under the names that the gateway's log has for it."""
    known = {
        **record.client(),
        "request_id": record.request_id,
        "decision": str(record.decision or ""),
        "reason": record.reason,
        "would_refuse": ",".join(record.would_refuse),
    }
    facts = Struct()
    facts.update({name: value for name, value in known.items() if value})
    return facts
