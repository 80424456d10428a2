// Package spool keeps records on disk until they are done: a log in one file, which
// belongs to one process at a time.
//
// A record is written with a checksum after what was written before. That a record is
// done is a further entry; when the file holds more of what is done than of what is
// not, the rest is copied to a new file, which takes the old one's place by a rename
// once it is whole. So a process that is killed at any moment leaves a file that holds
// every record whose [Log.Write] returned. What it was writing may be cut off: the
// reader ends there.
//
// The file is written at once and brought safely to the disk by [Log.Sync], without
// which a crash of the machine may take what was written last.
package spool
