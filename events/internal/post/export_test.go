package post

import "syscall"

// Forbidden tells where no request goes.
var Forbidden = forbidden

// Control is what looks at an address before it is dialed.
func Control(o Options) func(network, address string, _ syscall.RawConn) error {
	return guard{open: o.AllowLinkLocal}.control
}
