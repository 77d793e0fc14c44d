package sekisho

import (
	"errors"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	errorsv1 "github.com/sekisho/sekisho/clients/go/internal/gen/sekisho/errors/v1"
)

func TestARefusalHasItsReasonAndTheRequestID(t *testing.T) {
	got := RefusalOf(refusal(codes.Unauthenticated, errorsv1.ErrorReason_INVALID_TOKEN))
	if want := (Refusal{Reason: "INVALID_TOKEN", RequestID: "call-1"}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if !got.Is(errorsv1.ErrorReason_INVALID_TOKEN) || got.Is(errorsv1.ErrorReason_MISSING_TOKEN) {
		t.Errorf("%v is what it is not", got)
	}
}

func TestAReasonThatIsNewerThanTheClientIsKept(t *testing.T) {
	newer := status.New(codes.Aborted, "no")
	newer, err := newer.WithDetails(&errdetails.ErrorInfo{Reason: "NEWER", Domain: Domain})
	if err != nil {
		t.Fatal(err)
	}
	if got := RefusalOf(newer.Err()); got.Reason != "NEWER" {
		t.Errorf("got %v", got)
	}
}

func TestARefusalIsSekishosOrNone(t *testing.T) {
	others, err := status.New(codes.Aborted, "no").WithDetails(
		&errdetails.ErrorInfo{Reason: "INVALID_TOKEN", Domain: "example.com"},
		&errdetails.RequestInfo{RequestId: "call-1"},
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{nil, errors.New("other"), others.Err()} {
		if got := RefusalOf(err); got != (Refusal{}) {
			t.Errorf("of %v: got %v", err, got)
		}
	}
}
