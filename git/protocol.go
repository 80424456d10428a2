package git

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
)

// protocol2 is what a client says to be answered in version 2 of the protocol.
// Servers that do not know it answer in version 0.
const protocol2 = "version=2"

// greeting is what a server can do.
type greeting struct {
	version int // 2, or 0
	caps    capabilities
	// refs are the references: in version 0 they are part of the greeting.
	refs *advertisement
}

// can says whether a command of version 2 has a feature.
func (g *greeting) can(command, feature string) bool {
	return slices.Contains(strings.Fields(g.caps[command]), feature)
}

// client is the fast engine: it speaks versions 2 and 0 of Git's protocol in one
// session.
type client struct {
	session session
	lim     Limits
	// hello is the greeting, which in version 2 may be that of an earlier
	// session.
	hello *greeting
}

// greet makes sure that the server's greeting is known.
func (c *client) greet(ctx context.Context) error {
	if c.hello != nil {
		return nil
	}
	packets, err := c.session.advertise(ctx)
	if err != nil {
		return err
	}
	c.hello, err = readGreeting(packets, c.lim)
	return err
}

// readGreeting reads what a server says first, in either version.
func readGreeting(packets *packetReader, lim Limits) (*greeting, error) {
	first, m, err := packets.line()
	if err != nil {
		return nil, err
	}
	if m != data || first != "version 2" {
		refs, err := readAdvertisement(first, m, packets, lim)
		if err != nil {
			return nil, err
		}
		return &greeting{caps: refs.caps, refs: refs}, nil
	}
	g := &greeting{version: 2, caps: capabilities{}}
	const most = 100
	for range most {
		line, m, err := packets.line()
		if err != nil {
			return nil, err
		}
		if m == flush {
			return g, checkFormat(g.caps)
		}
		if m != data {
			return nil, fmt.Errorf("%w: a list of capabilities without an end", ErrProtocol)
		}
		name, value, _ := strings.Cut(line, "=")
		g.caps[name] = value
	}
	return nil, fmt.Errorf("%w: more than %d capabilities", ErrProtocol, most)
}

// list returns the references that begin with one of the prefixes, and perhaps
// others; without prefixes all. HEAD is among them.
func (c *client) list(ctx context.Context, prefixes []string) (*advertisement, error) {
	if err := c.greet(ctx); err != nil {
		return nil, err
	}
	if c.hello.version == 2 {
		return c.lsRefs(ctx, prefixes)
	}
	if c.hello.refs == nil { // of an earlier session
		c.hello = nil
		return c.list(ctx, prefixes)
	}
	return c.hello.refs, nil
}

// lsRefs lists references in version 2.
func (c *client) lsRefs(ctx context.Context, prefixes []string) (*advertisement, error) {
	body := c.command("ls-refs")
	body = appendPacket(body, "peel\n")
	body = appendPacket(body, "symrefs\n")
	if c.hello.can("ls-refs", "unborn") {
		body = appendPacket(body, "unborn\n")
	}
	if len(prefixes) > 0 {
		for _, prefix := range append(prefixes, "HEAD") {
			body = appendPacket(body, "ref-prefix "+prefix+"\n")
		}
	}
	packets, err := c.session.request(ctx, append(body, flushPacket...))
	if err != nil {
		return nil, err
	}
	return readRefs(packets, c.hello.caps, c.lim)
}

// command begins a command of version 2.
func (c *client) command(name string) []byte {
	body := appendPacket(nil, "command="+name+"\n")
	if _, ok := c.hello.caps["agent"]; ok {
		body = appendPacket(body, "agent="+agent+"\n")
	}
	if _, ok := c.hello.caps["object-format"]; ok {
		body = appendPacket(body, "object-format=sha1\n")
	}
	return append(body, delimiterPacket...)
}

// agent is what we call ourselves in the protocol.
const agent = "gitopskit"

// wanted is what is asked of a server.
type wanted struct {
	objects []id
	// have are commits that are held with all of their trees and files, but
	// without their history.
	have []id
	// depth is how much history is wanted; 0: the objects are no commits.
	depth int
	// filter leaves objects out, if the server can do that.
	filter string
}

// fetch asks for objects, and returns the pack with them.
func (c *client) fetch(ctx context.Context, w wanted) (io.Reader, error) {
	if err := c.greet(ctx); err != nil {
		return nil, err
	}
	if c.hello.version == 2 {
		return c.fetch2(ctx, w)
	}
	return c.fetch0(ctx, w)
}

// fetch2 fetches in version 2. All that is held is said at once, so that there is
// no negotiation.
func (c *client) fetch2(ctx context.Context, w wanted) (io.Reader, error) {
	body := c.command("fetch")
	for _, option := range []string{"thin-pack", "no-progress", "ofs-delta"} {
		body = appendPacket(body, option+"\n")
	}
	if c.hello.can("fetch", "shallow") && w.depth > 0 {
		for _, have := range w.have {
			body = appendPacket(body, "shallow "+have.String()+"\n")
		}
		body = appendPacket(body, fmt.Sprintf("deepen %d\n", w.depth))
	}
	if w.filter != "" {
		body = appendPacket(body, "filter "+w.filter+"\n")
	}
	for _, want := range w.objects {
		body = appendPacket(body, "want "+want.String()+"\n")
	}
	for _, have := range w.have {
		body = appendPacket(body, "have "+have.String()+"\n")
	}
	body = append(appendPacket(body, "done\n"), flushPacket...)
	packets, err := c.session.request(ctx, body)
	if err != nil {
		return nil, err
	}
	for {
		section, m, err := packets.line()
		switch {
		case err != nil:
			return nil, err
		case m != data:
			return nil, fmt.Errorf("%w: an answer without a pack", ErrProtocol)
		case section == "packfile":
			return &sideband{packets: packets}, nil
		}
		if err := skipSection(packets, section); err != nil {
			return nil, err
		}
	}
}

// skipSection reads what a server says before a pack, which is nothing new: that
// it knows what we have, and where the history ends.
func skipSection(packets *packetReader, section string) error {
	const most = 100_000
	for range most {
		_, m, err := packets.line()
		if err != nil {
			return err
		}
		if m == delimiter {
			return nil
		}
		if m != data {
			return fmt.Errorf("%w: the answer ends in its section %q", ErrProtocol, clip(section))
		}
	}
	return fmt.Errorf("%w: more than %d lines in the section %q", ErrProtocol, most, clip(section))
}

// fetch0 fetches in version 0.
func (c *client) fetch0(ctx context.Context, w wanted) (io.Reader, error) {
	caps := c.hello.caps
	var use []string
	for _, name := range []string{"multi_ack_detailed", "side-band-64k", "thin-pack", "ofs-delta", "no-progress", "shallow"} {
		if caps.has(name) {
			use = append(use, name)
		}
	}
	if caps.has("agent") {
		use = append(use, "agent="+agent)
	}
	shallow := caps.has("shallow") && w.depth > 0
	if !shallow {
		w.have = nil // what is held is not all that a server without depth would think
	}
	options := " " + strings.Join(use, " ")
	var body []byte
	for _, want := range w.objects {
		body = appendPacket(body, "want "+want.String()+options+"\n")
		options = ""
	}
	if shallow {
		for _, have := range w.have {
			body = appendPacket(body, "shallow "+have.String()+"\n")
		}
		body = appendPacket(body, fmt.Sprintf("deepen %d\n", w.depth))
	}
	body = append(body, flushPacket...)
	for _, have := range w.have {
		body = appendPacket(body, "have "+have.String()+"\n")
	}
	packets, err := c.session.request(ctx, appendPacket(body, "done\n"))
	if err != nil {
		return nil, err
	}
	if err := skipToPack(packets, shallow); err != nil {
		return nil, err
	}
	if !caps.has("side-band-64k") {
		return packets.r, nil
	}
	return &sideband{packets: packets}, nil
}

// skipToPack reads what stands before a pack in version 0: where history ends,
// then which of what we have the server knows.
func skipToPack(packets *packetReader, shallow bool) error {
	const most = 100_000
	for range most {
		line, m, err := packets.line()
		if err != nil {
			return err
		}
		word, rest, _ := strings.Cut(line, " ")
		switch {
		case m == flush && shallow:
			shallow = false
		case m != data:
			return fmt.Errorf("%w: an answer without a pack", ErrProtocol)
		case shallow && (word == "shallow" || word == "unshallow"):
		case shallow:
			return fmt.Errorf("%w: %q where the end of history should be named", ErrProtocol, clip(line))
		case line == "NAK", word == "ACK" && !strings.Contains(rest, " "):
			return nil
		case word != "ACK":
			return fmt.Errorf("%w: %q where the pack should begin", ErrProtocol, clip(line))
		}
	}
	return fmt.Errorf("%w: more than %d lines before the pack", ErrProtocol, most)
}
