;; Starts a hundred thousand commands and waits for none: their handles live in the host.
;; grants: commands = ["make"]
;; manifest: limits.journal_rows = 100000
;; leaves: command make x
;; expect: ends resource table
(func (export "step#run") (param i32 i32) (result i32)
  (local $spec i32)
  (local.set $spec (call $argv (text "make") (text "x")))
  (loop $again (drop (call $start (local.get $spec))) (br $again)) unreachable)
