package artifact

import "io"

// Bytes are read ahead in buffers of this size, a few of them.
const (
	aheadSize  = 128 << 10
	aheadCount = 8
)

// ahead reads in a goroutine of its own, so that whoever brings the bytes and
// whoever takes them apart work at the same time.
type ahead struct {
	full chan gulp
	free chan []byte
	stop chan struct{}
	done chan struct{}
	now  gulp
	rest []byte // of now
}

// gulp is what one read gave.
type gulp struct {
	buf []byte
	n   int
	err error
}

// readAhead starts to read r. Until close returns, r belongs to it.
func readAhead(r io.Reader) *ahead {
	a := &ahead{
		full: make(chan gulp, aheadCount),
		free: make(chan []byte, aheadCount),
		stop: make(chan struct{}),
		done: make(chan struct{}),
	}
	for range aheadCount {
		a.free <- nil // made when it is needed: most archives are small
	}
	go a.run(r)
	return a
}

func (a *ahead) run(r io.Reader) {
	defer close(a.done)
	defer close(a.full)
	for {
		var buf []byte
		select {
		case buf = <-a.free:
		case <-a.stop:
			return
		}
		if buf == nil {
			buf = make([]byte, aheadSize)
		}
		n, err := r.Read(buf)
		a.full <- gulp{buf, n, err} // never waits: there are no more buffers than room
		if err != nil {
			return
		}
	}
}

func (a *ahead) Read(b []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.now.err != nil {
			return 0, a.now.err
		}
		if a.now.buf != nil {
			a.free <- a.now.buf
		}
		a.now = <-a.full
		a.rest = a.now.buf[:a.now.n]
	}
	n := copy(b, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// close waits until nothing is read any more. What was read and not taken is lost.
func (a *ahead) close() {
	close(a.stop)
	<-a.done
}
