package sekisho

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	authv1 "github.com/sekisho/sekisho/clients/go/internal/gen/sekisho/auth/v1"
	errorsv1 "github.com/sekisho/sekisho/clients/go/internal/gen/sekisho/errors/v1"
	paymentsv1 "github.com/sekisho/sekisho/clients/go/internal/gen/sekisho/payments/v1"
)

// fakeGateway issues the tokens sat_1, sat_2, ..., each for ten minutes. Its watch says where it begins, sends two
// changes, and then says that the token expired.
type fakeGateway struct {
	authv1.UnimplementedTokenServiceServer
	paymentsv1.UnimplementedPaymentServiceServer

	// issuing, unless nil, is told of each request for a token, which then waits until it is read.
	issuing chan struct{}

	mu             sync.Mutex
	issued         int
	failure        error
	authorizations []string
}

func (g *fakeGateway) IssueToken(
	ctx context.Context, request *authv1.IssueTokenRequest,
) (*authv1.IssueTokenResponse, error) {
	if g.issuing != nil {
		select {
		case g.issuing <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failure != nil {
		return nil, g.failure
	}
	if request.GetGrantType() != "client_credentials" || request.GetClientSecret() != "secret" {
		return nil, refusal(codes.Unauthenticated, errorsv1.ErrorReason_INVALID_CLIENT)
	}
	g.issued++
	return &authv1.IssueTokenResponse{
		AccessToken: fmt.Sprintf("sat_%d", g.issued), TokenType: "Bearer", ExpiresIn: 600,
	}, nil
}

func (g *fakeGateway) ListPayments(
	ctx context.Context, _ *paymentsv1.ListPaymentsRequest,
) (*paymentsv1.ListPaymentsResponse, error) {
	g.note(ctx)
	return &paymentsv1.ListPaymentsResponse{}, nil
}

func (g *fakeGateway) WatchPayments(
	request *paymentsv1.WatchPaymentsRequest, stream grpc.ServerStreamingServer[paymentsv1.WatchPaymentsResponse],
) error {
	g.note(stream.Context())
	cursor := request.GetCursor()
	for _, message := range []*paymentsv1.WatchPaymentsResponse{place(cursor), change(cursor + "a"), change(cursor + "ab")} {
		if err := stream.Send(message); err != nil {
			return err
		}
	}
	return refusal(codes.Unauthenticated, errorsv1.ErrorReason_TOKEN_EXPIRED)
}

func (g *fakeGateway) note(ctx context.Context) {
	incoming, _ := metadata.FromIncomingContext(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.authorizations = append(g.authorizations, incoming.Get("authorization")...)
}

// let lets one request for a token go on.
func (g *fakeGateway) let(t *testing.T) {
	t.Helper()
	select {
	case <-g.issuing:
	case <-time.After(fetchTimeout):
		t.Fatal("no request for a token came")
	}
}

func (g *fakeGateway) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failure = err
}

// start serves g by TLS, and returns a connection to it.
func (g *fakeGateway) start(t *testing.T) *grpc.ClientConn {
	t.Helper()
	certificate, caFile := selfSigned(t)
	address := g.serve(t, grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&certificate))))
	conn, err := Dial(address, caFile)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// serve serves g until the test ends, and returns the address.
func (g *fakeGateway) serve(t *testing.T, server *grpc.Server) string {
	t.Helper()
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	authv1.RegisterTokenServiceServer(server, g)
	paymentsv1.RegisterPaymentServiceServer(server, g)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("localhost", port)
}

func refusal(code codes.Code, reason errorsv1.ErrorReason) error {
	refused, err := status.New(code, "no").WithDetails(
		&errdetails.ErrorInfo{Reason: reason.String(), Domain: Domain},
		&errdetails.RequestInfo{RequestId: "call-1"},
	)
	if err != nil {
		panic(err)
	}
	return refused.Err()
}

// selfSigned returns a certificate for localhost, and a file with it in PEM.
func selfSigned(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{"localhost"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(file, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}
