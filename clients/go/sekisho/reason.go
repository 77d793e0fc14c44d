package sekisho

import (
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
)

// Domain is the domain of the reasons that Sekisho gives.
const Domain = "sekisho"

// Some of the reasons that Sekisho gives; its docs/errors.md lists them all.
const (
	// ReasonClientTypeNotAllowed (PERMISSION_DENIED): the method is not for clients of this type.
	ReasonClientTypeNotAllowed = "CLIENT_TYPE_NOT_ALLOWED"
	// ReasonTokenExpired (UNAUTHENTICATED): the token expired while a stream was open.
	ReasonTokenExpired = "TOKEN_EXPIRED"
)

// Reason returns why Sekisho refused a call, as google.rpc.ErrorInfo in the rich status says it (AIP-193): what to
// decide by, together with the status code. It is empty if err is nil, or no refusal by Sekisho.
func Reason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok && info.GetDomain() == Domain {
			return info.GetReason()
		}
	}
	return ""
}
