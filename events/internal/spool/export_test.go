package spool

// OnDisk calls f before each step on the disk.
func (l *Log) OnDisk(f func(step string)) { l.step = f }
