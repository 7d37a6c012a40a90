;; Hands in a path whose `/` is spelled with two bytes, as decoders once took it.
;; kind: reporter
;; grants: files = ["*"]
;; expect: ends invalid utf-8
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (call $append (text "reports\c0\af..\c0\af..\c0\afetc") (text "x")))
