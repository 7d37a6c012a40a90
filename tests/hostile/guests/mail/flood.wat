;; Sends mail without end, to somebody whom it may not write to.
;; kind: reporter
;; expect: ends more than 1000 requests in one call
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (local $message i32)
  (local.set $message (call $message (text "eve@example.org") (text "hello")))
  (loop $again (call $mail.send (local.get $message) (i32.const 256)) (br $again)) unreachable)
