;; Writes to a thousand at once.
;; kind: reporter
;; grants: mail = ["*"]
;; expect: ends at most 100 recipients
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (local $message i32) (local $left i32)
  (local.set $message (call $message (text "ann@example.org") (text "hello")))
  (local.set $left (i32.const 1000))
  (loop $again
    (call $mail.add-to (local.get $message) (text "eve@example.org"))
    (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
  (call $send (local.get $message)))
