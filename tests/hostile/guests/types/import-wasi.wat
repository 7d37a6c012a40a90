;; Imports the files of the machine.
;; expect: refused wasi:filesystem
(component (import "wasi:filesystem/preopens@0.2.0" (instance (export "get-directories" (func)))))
