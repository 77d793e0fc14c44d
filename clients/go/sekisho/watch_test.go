package sekisho

import (
	"slices"
	"testing"

	"google.golang.org/grpc/codes"

	errorsv1 "github.com/sekisho/sekisho/clients/go/internal/gen/sekisho/errors/v1"
	paymentsv1 "github.com/sekisho/sekisho/clients/go/internal/gen/sekisho/payments/v1"
)

func TestAWatchResumesWithAFreshTokenAndTheLastCursor(t *testing.T) {
	gateway := &fakeGateway{}
	conn := gateway.start(t)
	source := NewTokenSource(conn, shop)
	payments := paymentsv1.NewPaymentServiceClient(Authorized(conn, source))
	var cursors []string
	for change, err := range WatchPayments(t.Context(), payments, source, "0") {
		if err != nil {
			t.Fatal(err)
		}
		if cursors = append(cursors, change.GetCursor()); len(cursors) == 3 {
			break
		}
	}
	if want := []string{"0a", "0b", "0ba"}; !slices.Equal(cursors, want) {
		t.Errorf("got %q, want %q", cursors, want)
	}
	if want := []string{"Bearer sat_1", "Bearer sat_2"}; !slices.Equal(gateway.authorizations, want) {
		t.Errorf("got %q, want %q", gateway.authorizations, want)
	}
}

func TestAWatchEndsWithAnyOtherRefusal(t *testing.T) {
	gateway := &fakeGateway{failure: refusal(codes.Unauthenticated, errorsv1.ErrorReason_INVALID_CLIENT)}
	conn := gateway.start(t)
	source := NewTokenSource(conn, shop)
	payments := paymentsv1.NewPaymentServiceClient(Authorized(conn, source))
	var ends []string
	for _, err := range WatchPayments(t.Context(), payments, source, "") {
		ends = append(ends, RefusalOf(err).Reason)
	}
	if want := []string{"INVALID_CLIENT"}; !slices.Equal(ends, want) {
		t.Errorf("got %q, want %q", ends, want)
	}
}
