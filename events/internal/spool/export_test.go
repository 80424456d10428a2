package spool

import "bytes"

// OnDisk calls f before each step on the disk.
func (l *Log) OnDisk(f func(step string)) { l.step = f }

// Read reads what a file would hold.
func Read(data []byte) (Restored, error) {
	c, err := read(bytes.NewReader(data), int64(len(data)))
	return Restored{Records: c.records, Last: c.last, Damaged: int64(len(data)) - c.end}, err
}

// File is a file with these records.
func File(records []Record) []byte {
	data := []byte(magic)
	for _, r := range records {
		data = appendEntry(data, kindAdd, r.Seq, r.Payload)
	}
	return data
}
