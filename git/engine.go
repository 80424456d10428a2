package git

import "context"

// Engine is an implementation of Git's protocol and of its packs.
type Engine string

const (
	// EngineAuto is the fast engine, and the compatible one for what a server
	// answers that the fast one does not understand. It is what the zero value
	// means.
	EngineAuto Engine = ""
	// EngineFast is the engine of this package: it speaks version 2 and version 0
	// of the protocol, fetches only what is new, and reads a pack in one pass,
	// while it arrives.
	EngineFast Engine = "fast"
	// EngineCompatible is go-git. It speaks version 0 of the protocol, and every
	// fetch brings everything, held in memory while it is decoded.
	EngineCompatible Engine = "go-git"
)

// engine is what one session with a server can do.
type engine interface {
	// list returns the references that begin with one of the prefixes, and
	// perhaps others; without prefixes all. HEAD is among them.
	list(ctx context.Context, prefixes []string) (*advertisement, error)
	// receive brings objects into a segment, and finishes it. They may build
	// upon those in base, which may be nil. stop cuts the connection.
	receive(ctx context.Context, w wanted, into *segment, base *store, stop func()) error
	// abilities of the engine with this server.
	abilities(ctx context.Context) (abilities, error)
}

// abilities are what an engine can do with a server.
type abilities struct {
	byID   bool // gives any object by its id
	thin   bool // leaves out what is held
	filter bool // leaves out what is not wanted
}

// receive implements engine.
func (c *client) receive(ctx context.Context, w wanted, into *segment, base *store, stop func()) error {
	pack, err := c.fetch(ctx, w)
	if err != nil {
		into.finish(err)
		return err
	}
	return receivePack(ctx, pack, into, base, c.lim, stop)
}

func (c *client) abilities(ctx context.Context) (abilities, error) {
	if err := c.greet(ctx); err != nil {
		return abilities{}, err
	}
	if c.hello.version == 2 {
		return abilities{byID: true, thin: c.hello.can("fetch", "shallow"), filter: c.hello.can("fetch", "filter")}, nil
	}
	return abilities{thin: c.hello.caps.has("shallow") && c.hello.caps.has("thin-pack")}, nil
}
