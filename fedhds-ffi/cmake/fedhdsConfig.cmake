# find_package(fedhds CONFIG): the targets
#
#   fedhds::fedhds   the shared library
#   fedhds::static   the static library, with the system libraries that it needs
#
# each where its file was found; one of them at least. Both bring the folder of fedhds.h and fedhds.hpp.
#
# This file finds header and library where it lies itself:
#   - in an install prefix (`cargo cinstall`, a package), as <prefix>/lib/cmake/fedhds or <prefix>/share/fedhds/cmake;
#   - in a checkout, as fedhds-ffi/cmake: the library is then in cargo's target folder, target/release of the checkout.
#
# Variables that may be set before:
#   FEDHDS_CARGO_DIR       the folder with the library that cargo built, for example <checkout>/target/debug
#   FEDHDS_SELECTION_ONLY  the library was built without models: the headers then show selection alone

get_filename_component(_fedhds_here "${CMAKE_CURRENT_LIST_DIR}" ABSOLUTE)

if(EXISTS "${_fedhds_here}/../include/fedhds.h" AND EXISTS "${_fedhds_here}/../Cargo.toml")
  # A checkout.
  set(_fedhds_include_places "${_fedhds_here}/../include")
  set(_fedhds_library_places "${_fedhds_here}/../../target/release")
else()
  # An install prefix: upwards of here, as its depth depends on the system.
  set(_fedhds_include_places)
  set(_fedhds_library_places)
  set(_fedhds_up "${_fedhds_here}")
  foreach(_fedhds_step RANGE 3)
    get_filename_component(_fedhds_up "${_fedhds_up}" DIRECTORY)
    list(APPEND _fedhds_include_places "${_fedhds_up}/include")
    list(APPEND _fedhds_library_places "${_fedhds_up}" "${_fedhds_up}/lib" "${_fedhds_up}/lib64" "${_fedhds_up}/bin")
    if(CMAKE_LIBRARY_ARCHITECTURE)
      list(APPEND _fedhds_library_places "${_fedhds_up}/lib/${CMAKE_LIBRARY_ARCHITECTURE}")
    endif()
  endforeach()
endif()
if(FEDHDS_CARGO_DIR)
  set(_fedhds_library_places "${FEDHDS_CARGO_DIR}")
endif()

# Looked up anew at each configuration: the folders may change between two.
unset(_fedhds_include CACHE)
unset(_fedhds_shared CACHE)
unset(_fedhds_import CACHE)
unset(_fedhds_archive CACHE)
find_path(_fedhds_include fedhds.h PATHS ${_fedhds_include_places} NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
set(_fedhds_shared_names
  ${CMAKE_SHARED_LIBRARY_PREFIX}fedhds${CMAKE_SHARED_LIBRARY_SUFFIX} fedhds${CMAKE_SHARED_LIBRARY_SUFFIX})
find_file(_fedhds_shared NAMES ${_fedhds_shared_names}
  PATHS ${_fedhds_library_places} NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
find_file(_fedhds_archive NAMES ${CMAKE_STATIC_LIBRARY_PREFIX}fedhds${CMAKE_STATIC_LIBRARY_SUFFIX}
  PATHS ${_fedhds_library_places} NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
if(WIN32)
  find_file(_fedhds_import NAMES fedhds.dll.lib libfedhds.dll.a
    PATHS ${_fedhds_library_places} NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
endif()

if(NOT _fedhds_include OR (NOT _fedhds_shared AND NOT _fedhds_archive))
  set(fedhds_FOUND FALSE)
  set(fedhds_NOT_FOUND_MESSAGE
    "expected fedhds.h in one of [${_fedhds_include_places}] and the library in one of [${_fedhds_library_places}]; \
`cargo build --release -p fedhds-ffi` builds it, FEDHDS_CARGO_DIR names another target folder")
else()
  set(fedhds_FOUND TRUE)
  set(_fedhds_definitions)
  if(FEDHDS_SELECTION_ONLY)
    set(_fedhds_definitions FEDHDS_SELECTION_ONLY)
  endif()

  if(_fedhds_shared AND NOT TARGET fedhds::fedhds)
    add_library(fedhds::fedhds SHARED IMPORTED)
    set_target_properties(fedhds::fedhds PROPERTIES
      IMPORTED_LOCATION "${_fedhds_shared}"
      INTERFACE_INCLUDE_DIRECTORIES "${_fedhds_include}"
      INTERFACE_COMPILE_DEFINITIONS "${_fedhds_definitions}")
    if(WIN32)
      set_target_properties(fedhds::fedhds PROPERTIES IMPORTED_IMPLIB "${_fedhds_import}")
    elseif(NOT APPLE)
      # A library of cargo's has no soname: it is linked by its name and found by the program's run path.
      file(STRINGS "${_fedhds_shared}" _fedhds_soname REGEX "^libfedhds\\.so\\.[0-9]+$" LIMIT_COUNT 1)
      if(NOT _fedhds_soname)
        set_target_properties(fedhds::fedhds PROPERTIES IMPORTED_NO_SONAME TRUE)
      endif()
    endif()
  endif()

  if(_fedhds_archive AND NOT TARGET fedhds::static)
    # What Rust's standard library calls; `cargo rustc -p fedhds-ffi -- --print native-static-libs` says it.
    if(WIN32)
      set(_fedhds_system ws2_32 userenv ntdll bcrypt advapi32 kernel32 dbghelp)
    elseif(APPLE)
      set(_fedhds_system "-framework CoreFoundation" "-framework Security" m)
    elseif(ANDROID)
      set(_fedhds_system dl log m)
    else()
      set(THREADS_PREFER_PTHREAD_FLAG ON)
      include(CMakeFindDependencyMacro)
      find_dependency(Threads)
      set(_fedhds_system Threads::Threads ${CMAKE_DL_LIBS} rt util m gcc_s)
    endif()
    add_library(fedhds::static STATIC IMPORTED)
    set_target_properties(fedhds::static PROPERTIES
      IMPORTED_LOCATION "${_fedhds_archive}"
      IMPORTED_LINK_INTERFACE_LANGUAGES C
      INTERFACE_LINK_LIBRARIES "${_fedhds_system}"
      INTERFACE_INCLUDE_DIRECTORIES "${_fedhds_include}"
      INTERFACE_COMPILE_DEFINITIONS "${_fedhds_definitions}")
  endif()
endif()
