package sekisho

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	errorsv1 "github.com/sekisho/sekisho/clients/go/internal/gen/sekisho/errors/v1"
	paymentsv1 "github.com/sekisho/sekisho/clients/go/internal/gen/sekisho/payments/v1"
)

var shop = Credentials{ClientID: "cli_1", ClientSecret: "secret"}

// clock is a time that the test sets.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func (c *clock) pass(d time.Duration) { c.at = c.at.Add(d) }

func newSource(t *testing.T, gateway *fakeGateway) (*TokenSource, *clock) {
	t.Helper()
	c := &clock{at: time.Unix(1_000_000, 0)}
	source := NewTokenSource(gateway.start(t), shop)
	source.now = c.now
	return source, c
}

func mustToken(t *testing.T, source *TokenSource) string {
	t.Helper()
	token, err := source.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestATokenIsKeptAndRefreshedBeforeItExpires(t *testing.T) {
	source, clock := newSource(t, &fakeGateway{})
	for _, step := range []struct {
		pass time.Duration
		want string
	}{{0, "sat_1"}, {539 * time.Second, "sat_1"}, {time.Second, "sat_2"}, {539 * time.Second, "sat_2"}} {
		clock.pass(step.pass)
		if got := mustToken(t, source); got != step.want {
			t.Errorf("after %s more: got %s, want %s", step.pass, got, step.want)
		}
	}
}

func TestCallersAtTheSameTimeShareOneRequest(t *testing.T) {
	gateway := &fakeGateway{issuing: make(chan struct{})}
	source, _ := newSource(t, gateway)
	var running, done sync.WaitGroup
	tokens := make([]string, 50)
	for i := range tokens {
		running.Add(1)
		done.Go(func() {
			running.Done()
			tokens[i], _ = source.Token(t.Context())
		})
	}
	running.Wait()
	gateway.let(t) // one request; a second would wait until it gives up
	done.Wait()
	for _, token := range tokens {
		if token != "sat_1" {
			t.Fatalf("got %q, want sat_1", token)
		}
	}
}

func TestACallerThatGivesUpLeavesTheRequestToTheOthers(t *testing.T) {
	gateway := &fakeGateway{issuing: make(chan struct{})}
	source, _ := newSource(t, gateway)
	ctx, giveUp := context.WithCancel(t.Context())
	giveUp()
	if _, err := source.Token(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want %v", err, context.Canceled)
	}
	gateway.let(t)
	if got := mustToken(t, source); got != "sat_1" {
		t.Errorf("got %s, want sat_1", got)
	}
}

func TestARefreshThatFailsIsNoErrorWhileTheTokenIsGood(t *testing.T) {
	gateway := &fakeGateway{}
	source, clock := newSource(t, gateway)
	mustToken(t, source)
	gateway.fail(refusal(codes.Unavailable, errorsv1.ErrorReason_AUTH_SERVER_UNAVAILABLE))
	clock.pass(599 * time.Second)
	if got := mustToken(t, source); got != "sat_1" {
		t.Errorf("got %s, want sat_1", got)
	}
	clock.pass(time.Second)
	if _, err := source.Token(t.Context()); !RefusalOf(err).Is(errorsv1.ErrorReason_AUTH_SERVER_UNAVAILABLE) {
		t.Errorf("got %v, want AUTH_SERVER_UNAVAILABLE", err)
	}
}

func TestCallsCarryTheToken(t *testing.T) {
	gateway := &fakeGateway{}
	conn := gateway.start(t)
	payments := paymentsv1.NewPaymentServiceClient(Authorized(conn, NewTokenSource(conn, shop)))
	if _, err := payments.ListPayments(t.Context(), &paymentsv1.ListPaymentsRequest{}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"Bearer sat_1"}; !slices.Equal(gateway.authorizations, want) {
		t.Errorf("got %q, want %q", gateway.authorizations, want)
	}
}

func TestACallWithoutATokenTellsWhyThereIsNone(t *testing.T) {
	conn := (&fakeGateway{}).start(t)
	wrong := NewTokenSource(conn, Credentials{ClientID: "cli_1", ClientSecret: "guessed"})
	payments := paymentsv1.NewPaymentServiceClient(Authorized(conn, wrong))
	_, err := payments.ListPayments(t.Context(), &paymentsv1.ListPaymentsRequest{})
	if status.Code(err) != codes.Unauthenticated || !RefusalOf(err).Is(errorsv1.ErrorReason_INVALID_CLIENT) {
		t.Errorf("got %v, want Unauthenticated INVALID_CLIENT", err)
	}
}

func TestATokenNeverTravelsInTheClear(t *testing.T) {
	gateway := &fakeGateway{}
	source := NewTokenSource(gateway.start(t), shop)
	address := gateway.serve(t, grpc.NewServer())
	clear, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer clear.Close()
	_, err = paymentsv1.NewPaymentServiceClient(Authorized(clear, source)).
		ListPayments(t.Context(), &paymentsv1.ListPaymentsRequest{})
	if status.Code(err) != codes.Unauthenticated || len(gateway.authorizations) > 0 {
		t.Errorf("got %v and sent %q, want Unauthenticated and nothing", err, gateway.authorizations)
	}
}

func TestASecretIsNotPrinted(t *testing.T) {
	if printed := fmt.Sprintf("%v %+v %#v %s", shop, shop, shop, &shop); strings.Contains(printed, "secret") {
		t.Errorf("printed %s", printed)
	}
}
