;; A protocol that can say anything to any port.
;; kind: change-source
;; grants: http = ["*"]
;; expect: ends an http or https URL
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $get (text "gopher://127.0.0.1:{port}/_QUIT")))
