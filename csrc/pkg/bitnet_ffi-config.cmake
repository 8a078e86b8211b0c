# find_package(bitnet_ffi) gives the imported target bitnet_ffi::bitnet_ffi. Relocatable: all paths follow this file.
get_filename_component(_bitnet_ffi_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
if(NOT TARGET bitnet_ffi::bitnet_ffi)
  add_library(bitnet_ffi::bitnet_ffi SHARED IMPORTED)
  set_target_properties(bitnet_ffi::bitnet_ffi PROPERTIES
    IMPORTED_LOCATION "${_bitnet_ffi_prefix}/lib/libbitnet_ffi.so.0"
    IMPORTED_SONAME "libbitnet_ffi.so.0"
    INTERFACE_INCLUDE_DIRECTORIES "${_bitnet_ffi_prefix}/include")
endif()
unset(_bitnet_ffi_prefix)
