package spool

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// A file is the magic and then entries:
//
//	4 bytes  length of the body
//	4 bytes  CRC-32C of the body
//	body:    1 byte kind, 8 bytes number of the record, payload
//
// Numbers are little-endian. The last character of the magic is the version.
const (
	magic     = "gkspool1"
	frameSize = 8
	headSize  = 9

	kindAdd  byte = 1
	kindDone byte = 2

	// MaxPayload is the longest record, in bytes.
	MaxPayload = 4 << 20
)

// Record is what is kept. Its number is its own as long as it is not done.
type Record struct {
	Seq     uint64
	Payload []byte
}

// place is where an entry is in a file.
type place struct{ at, size int64 }

func entrySize(payload int) int64 { return int64(frameSize + headSize + payload) }

// appendEntry appends an entry as it is in the file.
func appendEntry(b []byte, kind byte, seq uint64, payload []byte) []byte {
	frame := len(b)
	b = append(b, make([]byte, frameSize)...)
	b = append(b, kind)
	b = binary.LittleEndian.AppendUint64(b, seq)
	b = append(b, payload...)
	body := b[frame+frameSize:]
	binary.LittleEndian.PutUint32(b[frame:], uint32(len(body))) //nolint:gosec // at most MaxPayload and a head
	binary.LittleEndian.PutUint32(b[frame+4:], checksum(body))
	return b
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// contents is what a file says.
type contents struct {
	live    map[uint64]place
	records []Record // of the live ones, in the order in which they were written
	last    uint64   // the highest number
	end     int64    // where what can be read ends
}

// read reads a file of a size up to the first entry that is not whole. Only an error
// of the disk is an error.
func read(r io.Reader, size int64) (contents, error) {
	c := contents{live: map[uint64]place{}}
	in := bufio.NewReaderSize(r, 64<<10)
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(in, head); err != nil || string(head) != magic {
		return c, unlessCut(err)
	}
	c.end = int64(len(magic))
	payloads := map[uint64][]byte{}
	var order []uint64
	for {
		body, err := readBody(in, size-c.end)
		if err != nil || body == nil {
			c.records = inOrder(order, payloads)
			return c, err
		}
		kind, seq, payload := body[0], binary.LittleEndian.Uint64(body[1:]), body[headSize:]
		at := place{c.end, int64(frameSize + len(body))}
		c.end += at.size
		c.last = max(c.last, seq)
		switch _, known := payloads[seq]; {
		case kind == kindDone:
			delete(payloads, seq)
			delete(c.live, seq)
		case kind == kindAdd && !known:
			payloads[seq], c.live[seq] = payload, at
			order = append(order, seq)
		}
	}
}

// readBody returns the next entry's body, or nil where there is no whole one in the
// bytes that are left. It takes no memory on the word of a length alone.
func readBody(in io.Reader, left int64) ([]byte, error) {
	var frame [frameSize]byte
	if _, err := io.ReadFull(in, frame[:]); err != nil {
		return nil, unlessCut(err)
	}
	n := int64(binary.LittleEndian.Uint32(frame[:]))
	if n < headSize || n > headSize+MaxPayload || n > left-frameSize {
		return nil, nil
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(in, body); err != nil {
		return nil, unlessCut(err)
	}
	if checksum(body) != binary.LittleEndian.Uint32(frame[4:]) {
		return nil, nil
	}
	return body, nil
}

// unlessCut passes over that a file ends early.
func unlessCut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

func inOrder(order []uint64, payloads map[uint64][]byte) []Record {
	records := make([]Record, 0, len(payloads))
	for _, seq := range order {
		if payload, live := payloads[seq]; live {
			records = append(records, Record{seq, payload})
			delete(payloads, seq) // a number that was used twice
		}
	}
	return records
}
