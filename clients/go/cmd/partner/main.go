// Command partner calls a payment company's gateway as a partner company does. It prints one JSON object a line.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/sekisho/sekisho/clients/go/sekisho"
)

const usage = `partner calls a payment company's gateway, and prints one JSON object a line.

  partner submit --merchant NAME     submit an application for a merchant (Master Client)
  partner pay-as-master              try a payment, which must be refused (Master Client)
  partner list                       list the shop's payments, the newest first (shop)
  partner watch                      print where the watch begins, and each change of the shop's payments (shop)

partner COMMAND -h lists the flags of a command.
`

// command is one subcommand: it declares its flags, and returns what to run once they are parsed.
type command func(flags *flag.FlagSet) func(ctx context.Context, session *session) error

var commands = map[string]command{
	"submit":        submit,
	"pay-as-master": payAsMaster,
	"list":          list,
	"watch":         watch,
}

// session is what each command calls with: a connection that is authorized by tokens of one client.
type session struct {
	conn   grpc.ClientConnInterface
	source *sekisho.TokenSource
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:]))
}

// run returns the exit status: 0 if all went as it must, 1 if not, 2 if the command line makes no sense.
func run(ctx context.Context, arguments []string) int {
	if len(arguments) == 0 || commands[arguments[0]] == nil {
		fmt.Fprint(os.Stderr, usage)
		return 2
	}
	name := arguments[0]
	flags := flag.NewFlagSet("partner "+name, flag.ContinueOnError)
	gateway := flags.String("gateway", "localhost:7443", "the gateway's `host:port`")
	ca := flags.String("ca", "ca.pem", "the `file` of the CA that the gateway's certificate comes from, PEM")
	credentials := flags.String("credentials", "credentials.json", "the `file` of the client's credentials, JSON")
	call := commands[name](flags)
	switch err := flags.Parse(arguments[1:]); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(os.Stderr, "partner %s: what is %q?\n", name, flags.Arg(0))
		return 2
	}
	if err := open(ctx, *gateway, *ca, *credentials, call); err != nil {
		fmt.Fprintf(os.Stderr, "partner %s: %s\n", name, explained(err))
		return 1
	}
	return 0
}

func open(
	ctx context.Context, gateway, ca, credentials string, call func(context.Context, *session) error,
) error {
	conn, err := sekisho.Dial(gateway, ca)
	if err != nil {
		return err
	}
	defer conn.Close()
	client, err := sekisho.ReadCredentials(credentials)
	if err != nil {
		return err
	}
	source := sekisho.NewTokenSource(conn, client)
	return call(ctx, &session{conn: sekisho.Authorized(conn, source), source: source})
}

// explained puts the reason of a refusal before its message, which is for people and may change.
func explained(err error) string {
	refusal := sekisho.RefusalOf(err)
	if refusal.Reason == "" {
		return err.Error()
	}
	answer := status.Convert(err)
	return fmt.Sprintf("%s %s: %s (request %s)", answer.Code(), refusal.Reason, answer.Message(), refusal.RequestID)
}

// withTimeout bounds a call that is answered at once.
func withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 20*time.Second)
}
