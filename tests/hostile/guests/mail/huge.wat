;; Attaches a megabyte again and again.
;; kind: reporter
;; grants: mail = ["*"]
;; expect: ends at most 8 MiB in all
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (local $message i32) (local $left i32)
  (drop (memory.grow (i32.const 20)))
  (local.set $message (call $message (text "ann@example.org") (text "hello")))
  (local.set $left (i32.const 15))
  (loop $again
    (call $mail.attach (local.get $message) (text "a.txt") (text "text/plain") (i32.const 131072) (i32.const 1000000))
    (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
  (call $send (local.get $message)))
