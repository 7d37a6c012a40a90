;; Another of the sixteen million addresses of the same machine.
;; kind: change-source
;; grants: http = ["*"]
;; expect: ends address
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $get (text "http://127.255.255.254:{port}/")))
