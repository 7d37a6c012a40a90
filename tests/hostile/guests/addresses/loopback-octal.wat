;; The same in octal.
;; kind: change-source
;; grants: http = ["*"]
;; expect: ends address
(func (export "change-source#poll") (param i32 i32 i32 i32) (result i32)
  (call $get (text "http://0177.0.0.1:{port}/")))
