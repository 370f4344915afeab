// Package pending keeps go.mod whole until the packages that import these exist.
package pending

import (
	_ "github.com/asynkron/protoactor-go/actor"
	_ "github.com/cloudflare/circl/hpke"
	_ "github.com/cloudflare/circl/sign/ed448"
	_ "github.com/cockroachdb/pebble/v2"
	_ "github.com/cockroachdb/pebble/v2/vfs/errorfs"
	_ "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
	_ "go.uber.org/zap"
	_ "go.uber.org/zap/exp/zapslog"
	_ "golang.org/x/crypto/chacha20poly1305"
)
