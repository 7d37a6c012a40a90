;; Has the host write the whole report as JSON without end.
;; kind: reporter
;; expect: ends it ran for more than 300 ms
(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536))
(func (export "reporter#deliver") (param i32 i32 i32) (result i32)
  (loop $again (call $report.to-json (local.get 2) (i32.const 256)) (br $again)) unreachable)
