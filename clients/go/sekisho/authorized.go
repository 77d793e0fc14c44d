package sekisho

import (
	"context"

	"google.golang.org/grpc"
)

// Authorized returns conn such that each call carries a token of source. One connection serves any number of sources:
// a platform needs one connection, and one source for each of its shops.
func Authorized(conn grpc.ClientConnInterface, source *TokenSource) grpc.ClientConnInterface {
	return &authorized{conn: conn, option: grpc.PerRPCCredentials(source)}
}

type authorized struct {
	conn   grpc.ClientConnInterface
	option grpc.CallOption
}

// The option goes first, so that a caller's own credentials win.

func (a *authorized) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return a.conn.Invoke(ctx, method, args, reply, append([]grpc.CallOption{a.option}, opts...)...)
}

func (a *authorized) NewStream(
	ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	return a.conn.NewStream(ctx, desc, method, append([]grpc.CallOption{a.option}, opts...)...)
}
