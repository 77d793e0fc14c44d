package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	errorsv1 "github.com/sekisho/sekisho/clients/go/internal/gen/sekisho/errors/v1"
	paymentsv1 "github.com/sekisho/sekisho/clients/go/internal/gen/sekisho/payments/v1"
	"github.com/sekisho/sekisho/clients/go/sekisho"
)

func submit(flags *flag.FlagSet) func(context.Context, *session) error {
	merchant := flags.String("merchant", "", "the merchant's legal name")
	email := flags.String("email", "", "the merchant's e-mail address")
	business := flags.String("business", "", "what the merchant sells")
	requestID := flags.String("request-id", "", "the id of an earlier try, so that nothing is submitted twice")
	return func(ctx context.Context, s *session) error {
		ctx, cancel := withTimeout(ctx)
		defer cancel()
		if *requestID == "" {
			*requestID = rand.Text()
		}
		applications := paymentsv1.NewPartnerApplicationServiceClient(s.conn)
		application, err := applications.SubmitPartnerApplication(ctx, &paymentsv1.SubmitPartnerApplicationRequest{
			RequestId:           *requestID,
			MerchantName:        *merchant,
			ContactEmail:        *email,
			BusinessDescription: *business,
		})
		if err != nil {
			return err
		}
		return printMessage(application)
	}
}

// payAsMaster shows that a platform can't take payments itself: only its shops can, each with a client of its own.
func payAsMaster(*flag.FlagSet) func(context.Context, *session) error {
	return func(ctx context.Context, s *session) error {
		ctx, cancel := withTimeout(ctx)
		defer cancel()
		_, err := paymentsv1.NewPaymentServiceClient(s.conn).CreatePayment(ctx, &paymentsv1.CreatePaymentRequest{
			RequestId:   rand.Text(),
			PaymentCode: "pmc_none",
			Amount:      &paymentsv1.Money{CurrencyCode: "JPY", MinorUnits: 1},
		})
		code, refusal := status.Code(err), sekisho.RefusalOf(err)
		outcome := struct {
			Code      string `json:"code"`
			Reason    string `json:"reason"`
			RequestID string `json:"request_id"`
		}{code.String(), refusal.Reason, refusal.RequestID}
		line, marshalErr := json.Marshal(outcome)
		if marshalErr != nil {
			return marshalErr
		}
		if err := printLine(line); err != nil {
			return err
		}
		switch {
		case code == codes.PermissionDenied && refusal.Is(errorsv1.ErrorReason_CLIENT_TYPE_NOT_ALLOWED):
			return nil
		case err == nil:
			return errors.New("the payment was not refused")
		default:
			return fmt.Errorf("refused otherwise than expected: %w", err)
		}
	}
}

func list(flags *flag.FlagSet) func(context.Context, *session) error {
	pageSize := flags.Int("page-size", 100, "how many payments to ask for at once, up to 100")
	return func(ctx context.Context, s *session) error {
		payments := paymentsv1.NewPaymentServiceClient(s.conn)
		request := &paymentsv1.ListPaymentsRequest{PageSize: int32(*pageSize)}
		for {
			page, err := listPage(ctx, payments, request)
			if err != nil {
				return err
			}
			for _, payment := range page.GetPayments() {
				if err := printMessage(payment); err != nil {
					return err
				}
			}
			if request.PageToken = page.GetNextPageToken(); request.PageToken == "" {
				return nil
			}
		}
	}
}

func listPage(
	ctx context.Context, payments paymentsv1.PaymentServiceClient, request *paymentsv1.ListPaymentsRequest,
) (*paymentsv1.ListPaymentsResponse, error) {
	ctx, cancel := withTimeout(ctx)
	defer cancel()
	return payments.ListPayments(ctx, request)
}

func watch(flags *flag.FlagSet) func(context.Context, *session) error {
	cursor := flags.String("cursor", "", "the `cursor` of the last change known; from the first payment on if empty")
	fromNow := flags.Bool("from-now", false, "begin after the newest change")
	count := flags.Int("count", 0, "end after so many changes; never if 0")
	return func(ctx context.Context, s *session) error {
		payments := paymentsv1.NewPaymentServiceClient(s.conn)
		request := &paymentsv1.WatchPaymentsRequest{Cursor: *cursor, FromNow: *fromNow}
		seen := 0
		for message, err := range sekisho.WatchPayments(ctx, payments, s.source, request) {
			if err != nil {
				return err
			}
			if err := printMessage(message); err != nil {
				return err
			}
			if message.GetPayment() == nil {
				continue // the first one, where the watch begins
			}
			if seen++; seen == *count {
				break
			}
		}
		return nil
	}
}

// printMessage prints a message as one line of JSON, with the names that the contracts use.
func printMessage(message proto.Message) error {
	line, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(message)
	if err != nil {
		return err
	}
	return printLine(line)
}

func printLine(line []byte) error {
	_, err := os.Stdout.Write(append(line, '\n'))
	return err
}
