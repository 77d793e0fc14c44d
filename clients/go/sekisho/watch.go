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
)

// WatchPayments yields the changes of the payments of source's client after cursor, without end and each once. It
// resumes by itself when the token expires and, after a pause that grows, when the service is unavailable. Any other
// error is yielded and ends it, that of ctx included. An empty cursor means from the first payment on.
//
// Keep the cursor of a change with what was done about it: with that, a process that starts again misses nothing.
func WatchPayments(
	ctx context.Context, payments paymentsv1.PaymentServiceClient, source *TokenSource, cursor string,
) iter.Seq2[*paymentsv1.WatchPaymentsResponse, error] {
	return func(yield func(*paymentsv1.WatchPaymentsResponse, error) bool) {
		pause := firstPause
		for {
			before := cursor
			err := watchOnce(ctx, payments, &cursor, yield)
			if err == nil {
				return
			}
			if cursor != before {
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
			slog.InfoContext(ctx, "resuming the watch", "reason", refusal.Reason, "cursor", cursor)
			if err := sleep(ctx, pause); err != nil {
				yield(nil, err)
				return
			}
			pause = min(2*pause, longestPause)
		}
	}
}

// watchOnce yields the changes of one call and moves cursor along. It returns what ended the call: nil if yield did.
func watchOnce(
	ctx context.Context,
	payments paymentsv1.PaymentServiceClient,
	cursor *string,
	yield func(*paymentsv1.WatchPaymentsResponse, error) bool,
) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := payments.WatchPayments(ctx, &paymentsv1.WatchPaymentsRequest{Cursor: *cursor})
	if err != nil {
		return err
	}
	for {
		change, err := stream.Recv()
		if err != nil {
			return err
		}
		*cursor = change.GetCursor()
		if !yield(change, nil) {
			return nil
		}
	}
}

// temporary says whether trying again may help. A watch has no deadline: one that passed was the request for a token's.
func temporary(err error) bool {
	code := status.Code(err)
	return code == codes.Unavailable || code == codes.DeadlineExceeded
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
