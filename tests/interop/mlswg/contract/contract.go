// Package contract is the gRPC contract that the MLS working group's test runner speaks, generated from mls_client.proto.
//
// To generate it again, with protoc of Debian's protobuf-compiler, in this folder:
//
//	go generate
package contract

//go:generate sh -c "GOBIN=$PWD/bin go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12"
//go:generate sh -c "GOBIN=$PWD/bin go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2"
//go:generate protoc --plugin=bin/protoc-gen-go --plugin=bin/protoc-gen-go-grpc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative mls_client.proto
//go:generate rm -r bin
