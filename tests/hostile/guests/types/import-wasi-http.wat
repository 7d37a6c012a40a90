;; Imports a HTTP client past the rights, with the stand-ins, which have none.
;; manifest: plugin.wasi = "stub"
;; expect: refused wasi:http
(component (import "wasi:http/outgoing-handler@0.2.0" (instance (export "handle" (func)))))
