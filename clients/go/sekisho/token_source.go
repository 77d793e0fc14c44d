package sekisho

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	authv1 "github.com/sekisho/sekisho/clients/go/internal/gen/sekisho/auth/v1"
)

const (
	// A token is refreshed when the last fifth of its life begins, or its last minute, whichever is later: it must not
	// expire on its way.
	refreshShare  = 5
	refreshWindow = time.Minute

	// fetchTimeout bounds one request for a token. No caller's own deadline does, for others may wait for it too.
	fetchTimeout = 10 * time.Second
)

// A TokenSource hands out access tokens of one client. It takes them by the client credentials grant (RFC 6749 §4.4),
// keeps each until shortly before it expires, and has at most one request for a token under way. It is safe for
// concurrent use.
//
// It implements [credentials.PerRPCCredentials]: give it to a call by [grpc.PerRPCCredentials], or to all calls of a
// stub by [Authorized].
type TokenSource struct {
	tokens      authv1.TokenServiceClient
	credentials Credentials
	now         func() time.Time

	fetches singleflight.Group
	mu      sync.Mutex // guards kept
	kept    token
}

var _ credentials.PerRPCCredentials = (*TokenSource)(nil)

type token struct {
	value   string
	refresh time.Time // when to take the next one
	expiry  time.Time
}

// NewTokenSource returns a source of tokens of the client with these credentials. It asks the TokenService on conn,
// which need not be authorized: that service is public.
func NewTokenSource(conn grpc.ClientConnInterface, credentials Credentials) *TokenSource {
	return &TokenSource{tokens: authv1.NewTokenServiceClient(conn), credentials: credentials, now: time.Now}
}

// Token returns a token that is good for a while yet. If there is none, it takes one, or waits for the request that is
// under way. While the old token is good, a refresh that fails is no error: the next call tries again.
func (s *TokenSource) Token(ctx context.Context) (string, error) {
	kept := s.peek()
	if s.now().Before(kept.refresh) {
		return kept.value, nil
	}
	// The request outlives a caller who gives up: the others still want the token.
	fetched := s.fetches.DoChan("", func() (any, error) { return s.fetch(context.WithoutCancel(ctx)) })
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case result := <-fetched:
		if result.Err == nil {
			return result.Val.(token).value, nil
		}
		if s.now().Before(kept.expiry) {
			return kept.value, nil
		}
		return "", result.Err
	}
}

// Forget drops the token kept: the next call takes a new one. To be used when the gateway takes it no longer, though
// by its lifetime it should (INVALID_TOKEN: it was revoked).
func (s *TokenSource) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = token{}
}

// GetRequestMetadata returns the metadata that authorizes one call.
func (s *TokenSource) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	value, err := s.Token(ctx)
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": "Bearer " + value}, nil
}

// RequireTransportSecurity returns true: a token never travels in the clear.
func (s *TokenSource) RequireTransportSecurity() bool {
	return true
}

func (s *TokenSource) peek() token {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept
}

func (s *TokenSource) fetch(ctx context.Context) (token, error) {
	// A caller that found the kept token old may come here just after another's request ended.
	if kept := s.peek(); s.now().Before(kept.refresh) {
		return kept, nil
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	asked := s.now() // the lifetime counts from some moment after this one, so the error is on the safe side
	reply, err := s.tokens.IssueToken(ctx, &authv1.IssueTokenRequest{
		GrantType:    "client_credentials",
		ClientId:     s.credentials.ClientID,
		ClientSecret: s.credentials.ClientSecret,
	})
	if err != nil {
		return token{}, err
	}
	life := time.Duration(reply.GetExpiresIn()) * time.Second
	fresh := token{
		value:   reply.GetAccessToken(),
		refresh: asked.Add(life - min(refreshWindow, life/refreshShare)),
		expiry:  asked.Add(life),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = fresh
	return fresh, nil
}
