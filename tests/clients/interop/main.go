// Command interop prints the contracts of gRPC's interoperability suite as a descriptor set.
//
// With an address, a certificate and its key, it serves the suite's test service by Go's own HTTP server, which is stricter
// with headers than the one that gRPC brings along.
package main

import (
	"log"
	"net/http"
	"os"

	orca "github.com/cncf/xds/go/xds/service/orca/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

func main() {
	if len(os.Args) > 1 {
		server := grpc.NewServer()
		grpc_testing.RegisterTestServiceServer(server, interop.NewTestServer())
		log.Fatal(http.ListenAndServeTLS(os.Args[1], os.Args[2], os.Args[3], server))
	}
	set, added := &descriptorpb.FileDescriptorSet{}, map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(file protoreflect.FileDescriptor) {
		if added[file.Path()] {
			return
		}
		added[file.Path()] = true
		for i := range file.Imports().Len() {
			add(file.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(file))
	}
	add(grpc_testing.File_grpc_testing_test_proto)
	add(orca.File_xds_service_orca_v3_orca_proto)
	content, err := proto.Marshal(set)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := os.Stdout.Write(content); err != nil {
		log.Fatal(err)
	}
}
