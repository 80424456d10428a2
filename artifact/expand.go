package artifact

import (
	"bufio"
	"io"
	"runtime"
	"sync"
)

const (
	// expandRoom bounds what is expanded ahead, with what it is expanded from. It is
	// counted in units, and has room for the largest member.
	expandRoom = 12 << 20 / roomUnit
	roomUnit   = 64 << 10
	// partSize is the part of what is no such member, and partRoom the room that it
	// takes: there are eight at most, for they come one after the other.
	partSize = 128 << 10
	partRoom = expandRoom / 8
)

// expansion is what comes out of an archive. One goroutine takes the members that
// say their length out of it, for others to expand side by side; what is no such
// member it expands by itself.
type expansion struct {
	in    *input
	zip   *bufio.Reader
	room  chan struct{} // one for each unit that is taken
	order chan *part    // as in the archive
	work  chan *part
	spare spare
	stop  chan struct{}
	done  sync.WaitGroup

	// What follows is the reader's.
	now  *part
	rest *blockReader // of now
	n    int64        // bytes so far
}

// part is some of what comes out.
type part struct {
	member blocks // empty if it is expanded already
	data   blocks
	size   int64         // that the member says it holds
	end    int64         // in the archive, or a little further
	room   int64         // that it takes, in units
	err    error         // instead of data
	done   chan struct{} // closed when it is expanded; nil if it came so
}

// expand starts to expand an archive. Until close returns, in belongs to it.
func expand(in *input) *expansion {
	x := &expansion{
		in: in, zip: bufio.NewReaderSize(in, 64<<10), spare: newSpare(),
		room: make(chan struct{}, expandRoom), order: make(chan *part, expandRoom+1), work: make(chan *part, expandRoom),
		stop: make(chan struct{}),
	}
	x.done.Go(x.split)
	return x
}

// split makes the parts, up to the first error, which may be the end.
func (x *expansion) split() {
	defer close(x.order)
	defer close(x.work)
	for workers, end := 0, int64(0); ; workers++ {
		header, _ := x.zip.Peek(memberHeader) // an error comes up again
		n := lengthOf(header)
		if n == 0 {
			x.stream(x.zip)
			return
		}
		p := x.take(n)
		if p == nil {
			return
		}
		end += n
		p.end = end
		if workers < min(runtime.GOMAXPROCS(0), mostWorkers) {
			x.done.Go(x.members)
		}
		x.order <- p // never waits: there are no more parts than room
		x.work <- p
	}
}

// take takes a member of so many bytes out of the archive. It returns nil at the
// end, and where the rest is for stream.
func (x *expansion) take(n int64) *part {
	if !x.reserve(units(n)) {
		return nil
	}
	p := &part{member: blocks{spare: x.spare}, data: blocks{spare: x.spare}, done: make(chan struct{})}
	var last [4]byte
	err := p.member.fill(x.zip, n-int64(len(last)))
	if err == nil {
		_, err = io.ReadFull(x.zip, last[:])
	}
	if err != nil {
		x.order <- &part{err: noEOF(err)}
		return nil
	}
	_, _ = p.member.Write(last[:]) // does not fail
	p.size = expandsTo(last)
	if p.size > maxMember {
		x.stream(io.MultiReader(p.member.reader(), x.zip))
		return nil
	}
	if !x.reserve(units(p.size)) {
		return nil
	}
	p.room = units(n) + units(p.size)
	return p
}

// members expands members until there are no more, or nobody wants them any more.
func (x *expansion) members() {
	var m memberReader
	for p := range x.work {
		select {
		case <-x.stop:
			return
		default:
		}
		p.err = m.expand(&p.member, &p.data, p.size)
		close(p.done)
	}
}

// stream expands all that is left.
func (x *expansion) stream(r io.Reader) {
	zip := &memberStream{in: bufio.NewReader(r)} // itself, if it is one
	var err error
	for err == nil {
		if !x.reserve(partRoom) {
			return
		}
		p := &part{data: blocks{spare: x.spare}, room: partRoom}
		err = p.data.fill(zip, partSize)
		p.end = x.in.n
		x.order <- p
	}
	x.order <- &part{err: err}
}

// reserve waits for room, unless nobody wants any more.
func (x *expansion) reserve(units int64) bool {
	for range units {
		select {
		case x.room <- struct{}{}:
		case <-x.stop:
			return false
		}
	}
	return true
}

func units(n int64) int64 { return (n + roomUnit - 1) / roomUnit }

// Read is bounded by the limits, whatever the archive says of itself.
func (x *expansion) Read(b []byte) (int, error) {
	for {
		if x.now != nil {
			if n, _ := x.rest.Read(b); n > 0 || len(b) == 0 {
				return n, nil
			}
			if x.now.err != nil {
				return 0, x.now.err
			}
			x.release()
		}
		x.next()
	}
}

// next waits for the part that comes next. What is wrong with it is known before
// anything of it is read.
func (x *expansion) next() {
	p := <-x.order
	if p.done != nil {
		<-p.done
	}
	if p.err == nil {
		x.n += p.data.n
		p.err = x.in.lim.checkExpanded(p.end, x.n, readGrace)
	}
	x.now, x.rest = p, new(blockReader)
	if p.err == nil {
		x.rest = p.data.reader()
	}
}

// release gives back what a part took, which was read.
func (x *expansion) release() {
	x.now.member.clear()
	x.now.data.clear()
	for range x.now.room {
		<-x.room
	}
}

// close waits until nothing is read any more.
func (x *expansion) close() {
	close(x.stop)
	x.done.Wait()
}
