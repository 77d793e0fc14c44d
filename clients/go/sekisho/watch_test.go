package sekisho

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	errorsv1 "github.com/sekisho/sekisho/clients/go/internal/gen/sekisho/errors/v1"
	paymentsv1 "github.com/sekisho/sekisho/clients/go/internal/gen/sekisho/payments/v1"
)

// scriptedPayments answers the first call of WatchPayments by the first script, and so on.
type scriptedPayments struct {
	paymentsv1.PaymentServiceClient
	scripts  [][]step
	requests []*paymentsv1.WatchPaymentsRequest
}

// step is what a watch sends or ends with, after a while. After the last step nothing comes.
type step struct {
	after   time.Duration
	message *paymentsv1.WatchPaymentsResponse
	err     error
}

func (p *scriptedPayments) WatchPayments(
	ctx context.Context, request *paymentsv1.WatchPaymentsRequest, _ ...grpc.CallOption,
) (grpc.ServerStreamingClient[paymentsv1.WatchPaymentsResponse], error) {
	script := p.scripts[len(p.requests)]
	p.requests = append(p.requests, request)
	return &scriptedStream{ctx: ctx, script: script}, nil
}

type scriptedStream struct {
	grpc.ServerStreamingClient[paymentsv1.WatchPaymentsResponse]
	ctx    context.Context
	script []step
}

func (s *scriptedStream) Recv() (*paymentsv1.WatchPaymentsResponse, error) {
	next := step{after: time.Hour, err: status.Error(codes.Internal, "nobody gave up")}
	if len(s.script) > 0 {
		next, s.script = s.script[0], s.script[1:]
	}
	select {
	case <-time.After(next.after):
		return next.message, next.err
	case <-s.ctx.Done():
		return nil, status.FromContextError(s.ctx.Err()).Err()
	}
}

func place(cursor string) *paymentsv1.WatchPaymentsResponse {
	return &paymentsv1.WatchPaymentsResponse{Cursor: cursor}
}

func change(cursor string) *paymentsv1.WatchPaymentsResponse {
	return &paymentsv1.WatchPaymentsResponse{Cursor: cursor, Payment: &paymentsv1.Payment{}}
}

// take takes count messages of a watch from the request on, and returns their cursors. After each it pauses.
func (p *scriptedPayments) take(
	t *testing.T, request *paymentsv1.WatchPaymentsRequest, count int, pause time.Duration,
) []string {
	t.Helper()
	var cursors []string
	for message, err := range WatchPayments(t.Context(), p, NewTokenSource(nil, shop), request) {
		if err != nil {
			t.Fatal(err)
		}
		if cursors = append(cursors, message.GetCursor()); len(cursors) == count {
			break
		}
		time.Sleep(pause)
	}
	return cursors
}

func (p *scriptedPayments) asked() []string {
	var cursors []string
	for _, request := range p.requests {
		cursors = append(cursors, request.GetCursor())
	}
	return cursors
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAWatchResumesWithAFreshTokenAndTheLastCursor(t *testing.T) {
	gateway := &fakeGateway{}
	conn := gateway.start(t)
	source := NewTokenSource(conn, shop)
	payments := paymentsv1.NewPaymentServiceClient(Authorized(conn, source))
	var cursors []string
	from := &paymentsv1.WatchPaymentsRequest{Cursor: "0"}
	for message, err := range WatchPayments(t.Context(), payments, source, from) {
		if err != nil {
			t.Fatal(err)
		}
		if cursors = append(cursors, message.GetCursor()); len(cursors) == 4 {
			break
		}
	}
	same(t, cursors, "0", "0a", "0ab", "0aba")
	same(t, gateway.authorizations, "Bearer sat_1", "Bearer sat_2")
}

func TestAWatchEndsWithAnyOtherRefusal(t *testing.T) {
	gateway := &fakeGateway{failure: refusal(codes.Unauthenticated, errorsv1.ErrorReason_INVALID_CLIENT)}
	conn := gateway.start(t)
	source := NewTokenSource(conn, shop)
	payments := paymentsv1.NewPaymentServiceClient(Authorized(conn, source))
	var ends []string
	for _, err := range WatchPayments(t.Context(), payments, source, &paymentsv1.WatchPaymentsRequest{}) {
		ends = append(ends, RefusalOf(err).Reason)
	}
	same(t, ends, "INVALID_CLIENT")
}

func TestAWatchResumesWhenTheServiceStopsOrHasNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		payments := &scriptedPayments{scripts: [][]step{
			{{err: refusal(codes.ResourceExhausted, errorsv1.ErrorReason_TOO_MANY_WATCHES)}},
			{{message: place("1")}, {message: change("2")},
				{err: refusal(codes.Unavailable, errorsv1.ErrorReason_SERVER_STOPPING)}},
			{{message: place("2")}, {message: change("3")}},
		}}
		same(t, payments.take(t, &paymentsv1.WatchPaymentsRequest{}, 3, 0), "1", "2", "3")
		same(t, payments.asked(), "", "", "2")
	})
}

func TestAWatchFromNowResumesWhereItBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		payments := &scriptedPayments{scripts: [][]step{
			{{err: status.Error(codes.Unavailable, "no")}},
			{{message: place("7")}, {err: status.Error(codes.Unavailable, "no")}},
			{{message: place("7")}, {message: change("8")}},
		}}
		same(t, payments.take(t, &paymentsv1.WatchPaymentsRequest{FromNow: true}, 2, 0), "7", "8")
		same(t, payments.asked(), "", "", "7")
		if !payments.requests[1].GetFromNow() || payments.requests[2].GetFromNow() {
			t.Errorf("asked for %v", payments.requests)
		}
	})
}

func TestPausesGrowUntilAWatchGoesWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := step{err: status.Error(codes.Unavailable, "no")}
		letIn := []step{{message: place("1")}, broken}
		goneWell := []step{{message: place("1")}, {message: place("1"), after: time.Second}, broken}
		last := []step{{message: change("2")}}
		for _, test := range []struct {
			script   []step
			min, max time.Duration
		}{
			{letIn, 10 * time.Second, 22 * time.Second}, // pauses of up to 0.1, 0.2, ..., 6.4 and 10 seconds
			{goneWell, 8 * time.Second, 9 * time.Second},
		} {
			payments := &scriptedPayments{scripts: append(slices.Repeat([][]step{test.script}, 8), last)}
			start := time.Now()
			same(t, payments.take(t, &paymentsv1.WatchPaymentsRequest{}, 2, 0), "1", "2")
			if passed := time.Since(start); passed < test.min || passed > test.max {
				t.Errorf("it took %s", passed)
			}
		}
	})
}

func TestAWatchThatGoesSilentIsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		payments := &scriptedPayments{scripts: [][]step{
			{},
			{{message: place("1")}},
			{{message: place("1")}, {message: change("2")}, {message: place("2"), after: longestSilence - 1}},
			{{message: place("2")}, {message: change("3")}},
		}}
		start := time.Now()
		same(t, payments.take(t, &paymentsv1.WatchPaymentsRequest{}, 3, 0), "1", "2", "3")
		same(t, payments.asked(), "", "", "1", "2")
		if passed := time.Since(start); passed < 4*longestSilence-1 || passed > 4*longestSilence+time.Second {
			t.Errorf("it took %s", passed)
		}
	})
}

func TestAWatchWithoutChangesGoesOnWhileItSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quiet := []step{{message: place("1")}}
		for range 100 {
			quiet = append(quiet, step{message: place("1"), after: 30 * time.Second})
		}
		payments := &scriptedPayments{scripts: [][]step{append(quiet, step{message: change("2")})}}
		same(t, payments.take(t, &paymentsv1.WatchPaymentsRequest{}, 2, 0), "1", "2")
	})
}

func TestAWatchIsNotSilentWhileItsReaderIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		payments := &scriptedPayments{scripts: [][]step{
			{{message: place("1")}, {message: change("2")}, {message: change("3")}},
		}}
		same(t, payments.take(t, &paymentsv1.WatchPaymentsRequest{}, 3, 10*longestSilence), "1", "2", "3")
		same(t, payments.asked(), "")
	})
}
