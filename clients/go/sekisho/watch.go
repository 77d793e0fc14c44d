package sekisho

import (
	"context"
	"iter"
	"log/slog"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	errorsv1 "github.com/sekisho/sekisho/clients/go/internal/gen/sekisho/errors/v1"
	paymentsv1 "github.com/sekisho/sekisho/clients/go/internal/gen/sekisho/payments/v1"
)

const (
	firstPause   = 100 * time.Millisecond
	longestPause = 10 * time.Second

	// longestSilence is how long a watch may send nothing before it counts as dead. The contract promises a message
	// every 30 seconds; one may be late, or lost with what carried it.
	longestSilence = 75 * time.Second
)

var errSilent = status.Error(codes.Unavailable, "the watch went silent")

// WatchPayments yields the changes of the payments of source's client, each once and without end, from where the
// request says: after a cursor, from now on, or from the first payment on. What it yields first has no payment, but the
// cursor at which the watch begins.
//
// It resumes by itself when the token expires and, after a pause that grows, when the service is unavailable or has no
// room, and when the watch goes silent. Any other error is yielded and ends it, that of ctx included.
//
// Keep the cursor of a change with what was done about it: with that, a process that starts again misses nothing.
func WatchPayments(
	ctx context.Context,
	payments paymentsv1.PaymentServiceClient,
	source *TokenSource,
	request *paymentsv1.WatchPaymentsRequest,
) iter.Seq2[*paymentsv1.WatchPaymentsResponse, error] {
	return func(yield func(*paymentsv1.WatchPaymentsResponse, error) bool) {
		w := &watch{payments: payments, next: request, yield: yield}
		pause := firstPause
		for {
			wentWell, err := w.call(ctx)
			if err == nil {
				return
			}
			if wentWell {
				pause = firstPause
			}
			refusal := RefusalOf(err)
			switch {
			case refusal.Is(errorsv1.ErrorReason_TOKEN_EXPIRED):
				source.Forget()
				pause = firstPause
			case ctx.Err() == nil && temporary(err):
			default:
				yield(nil, err)
				return
			}
			slog.InfoContext(ctx, "resuming the watch", "reason", refusal.Reason, "cursor", w.next.GetCursor())
			if err := sleep(ctx, pause); err != nil {
				yield(nil, err)
				return
			}
			pause = min(2*pause, longestPause)
		}
	}
}

// watch goes on from call to call.
type watch struct {
	payments paymentsv1.PaymentServiceClient
	next     *paymentsv1.WatchPaymentsRequest
	begun    bool // whether it was yielded where the watch begins
	yield    func(*paymentsv1.WatchPaymentsResponse, error) bool
}

// call makes one call, yields its changes, and moves next along. It returns what ended the call, nil if yield did, and
// whether the call went well before: the first message alone says no more than that it was let in.
func (w *watch) call(ctx context.Context) (wentWell bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(longestSilence, func() { cancel(errSilent) })
	defer silence.Stop()
	stream, err := w.payments.WatchPayments(ctx, w.next)
	for received := 0; err == nil; received++ {
		var message *paymentsv1.WatchPaymentsResponse
		if message, err = stream.Recv(); err != nil {
			break
		}
		silence.Stop() // however long yield takes, it is not the watch that is silent
		wentWell = received > 0
		w.next = &paymentsv1.WatchPaymentsRequest{Cursor: message.GetCursor()}
		if message.GetPayment() != nil || !w.begun {
			w.begun = true
			if !w.yield(message, nil) {
				return wentWell, nil
			}
		}
		silence.Reset(longestSilence)
	}
	if context.Cause(ctx) == errSilent {
		return wentWell, errSilent
	}
	return wentWell, err
}

// temporary says whether trying again may help. A watch has no deadline: one that passed was the request for a token's.
func temporary(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.ResourceExhausted, codes.DeadlineExceeded:
		return true
	default:
		return false
	}
}

// sleep waits for half of d to all of it, so that clients that were cut off together don't come back together.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d/2 + rand.N(d/2))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
