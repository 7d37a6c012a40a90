;; Sends granted requests without end.
;; kind: reporter
;; grants: files = ["*"]
;; leaves: file
;; expect: ends more than 1000 requests in one call
;; within: 30
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (loop $again
    (call $files.append (text "reports/flood") (text "x") (i32.const 256))
    (br $again)) unreachable)
