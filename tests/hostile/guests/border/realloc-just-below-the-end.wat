;; Gives the host the last bytes of its memory for a text that is longer.
;; kind: reporter
;; config: {"long": "0123456789012345678901234567890123456789"}
;; expect: ends beyond end of memory
(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 131064))
