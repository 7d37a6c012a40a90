;; Calls the host from where the host asks for memory, while the host is still carrying out the first call.
;; kind: change-source
;; expect: ends cannot leave component instance
(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
  (call $log.write (i32.const 1) (text "from within"))
  (call $alloc (local.get 3)))
