package sekisho

import (
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	errorsv1 "github.com/sekisho/sekisho/clients/go/internal/gen/sekisho/errors/v1"
)

// Domain is the domain of the reasons that Sekisho gives.
const Domain = "sekisho"

// A Refusal is why Sekisho refused a call, as the rich status says it (AIP-193).
type Refusal struct {
	// Reason is what to decide by, together with the status code: the name of an [errorsv1.ErrorReason], or one that is
	// newer than this client.
	Reason string
	// RequestID is what the services' logs call the call: what to tell their operator.
	RequestID string
}

// RefusalOf returns why Sekisho refused a call. It is empty if err is nil, or no refusal by Sekisho.
func RefusalOf(err error) Refusal {
	var refusal Refusal
	for _, detail := range status.Convert(err).Details() {
		switch info := detail.(type) {
		case *errdetails.ErrorInfo:
			if info.GetDomain() == Domain {
				refusal.Reason = info.GetReason()
			}
		case *errdetails.RequestInfo:
			refusal.RequestID = info.GetRequestId()
		}
	}
	if refusal.Reason == "" {
		return Refusal{}
	}
	return refusal
}

// Is says whether this is the reason.
func (r Refusal) Is(reason errorsv1.ErrorReason) bool {
	return r.Reason == reason.String()
}
